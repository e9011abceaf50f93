"""What people expect of a command line: help for every option, completion in the shell, a preset to begin with."""

import argparse
import shutil
import subprocess
from pathlib import Path

import pytest

from vgrout.config import load
from vgrout_cli.commands.help_texts import GROUPS
from vgrout_cli.main import COMMANDS, main, parser

ROOT = Path(__file__).parents[2]
TINY = ROOT / "configs/tiny"


def parsers(one: argparse.ArgumentParser):
    """A parser and all below it."""
    yield one
    for action in one._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from parsers(sub)


def test_every_command_is_in_one_group_and_every_option_has_help(capsys):
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(COMMANDS)
    silent = [
        (one.prog, action.dest) for one in parsers(parser()) for action in one._actions
        if not action.help and not isinstance(action, argparse._SubParsersAction)
    ]  # fmt: skip
    assert silent == []
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    assert all(f"\n  {name} " in said for name in COMMANDS) and all(f"{group}:\n" in said for group in GROUPS)


@pytest.mark.parametrize(
    ("words", "expected", "absent"),
    [
        (["vgrout", "ex"], {"export", "export-rollouts"}, {"train"}),
        (["vgrout", "train", "--se"], {"--set", "--seed"}, {"--arm"}),
        (["vgrout", "train", "--arm", "routev_u"], {"routev_ub"}, {"routev"}),
        (["vgrout", "train", "tiny-"], {"tiny-async", "tiny-gpu", "tiny-teacher"}, {"tiny"}),
        (["vgrout", "data", "ch"], {"check", "check-pairs"}, {"fetch"}),
        (["vgrout", "completion", "--h"], {"--help"}, set()),
    ],
)
def test_bash_completes(words, expected, absent, capsys, tmp_path):
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    assert main(["completion", "bash"]) == 0
    ask = f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; _vgrout; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    (tmp_path / "script").write_text(capsys.readouterr().out + ask)
    done = subprocess.run(["bash", str(tmp_path / "script")], capture_output=True, text=True, check=True)
    found = set(done.stdout.split())
    assert expected <= found and not absent & found


def test_zsh_takes_the_same_script_through_bashcompinit(capsys):
    scripts = {shell: (main(["completion", shell]), capsys.readouterr().out)[1] for shell in ("bash", "zsh")}
    assert scripts["zsh"].endswith(scripts["bash"]) and "bashcompinit" in scripts["zsh"]


def test_init_writes_a_preset_that_loads_and_explains_itself(tmp_path, capsys):
    out = tmp_path / "mine.toml"
    command = ["init", str(TINY / "model"), str(TINY / "train.jsonl"), str(TINY / "test.jsonl"), "--out", str(out)]
    assert main([*command, "--pairs", str(TINY / "pairs.jsonl")]) == 0
    assert "vgrout train" in capsys.readouterr().out
    config = load(out)
    assert (config.model.path, config.data.pairs) == (str(TINY / "model"), str(TINY / "pairs.jsonl"))
    text = out.read_text()
    assert "\n# Peak learning rate" in text and "\n# lr = 7e-05" in text
    assert main(command) == 2  # it is there
    changed = text.replace("# lr = 7e-05", "lr = 0.5")  # what a comment says of a field is how it is set
    out.write_text(changed)
    assert load(out).optim.lr == 0.5


def test_init_refuses_what_could_not_be_trained_on(tmp_path, capsys):
    out = tmp_path / "mine.toml"
    assert main(["init", "some/model", str(tmp_path / "none.jsonl"), str(TINY / "test.jsonl"), "--out", str(out)]) == 2
    assert main(["init", "some/model", str(TINY / "test.jsonl"), str(TINY / "train.jsonl"), "--out", str(out)]) == 2
    assert not out.exists() and "newer" in capsys.readouterr().err
