"""Every command of the README is run: here with small settings, by another test that is named, or as CI's own command."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from vgrout_cli.main import parser

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = [line for block in re.findall(r"```\n(.*?)```", README, re.S) for line in block.splitlines() if "/  " not in line]
SMALL = [
    "train.updates=1",
    "rollout.prompts=2",
    "rollout.samples=2",
    "eval.samples=1",
    "runtime.engine=hf",
    "runtime.backend=local",
]
# Lines that another test runs, with that test; the first words of a line are enough.
ELSEWHERE = {
    "make demo": "tests/install/test_wheel.py::test_demo",
    "vgrout suite": "tests/vgrout/test_suite.py",
    "vgrout report out/suites": "tests/report/test_report.py",
    "vgrout view": "tests/view/test_view.py",
    "vllm serve": "tests/actors/test_export_served.py",
    "lm_eval": "tests/deploy/test_lm_eval.py",
    "export RAY_AUTH_MODE": "tests/actors/test_job.py::test_train_as_a_submitted_job",
    "ray ": "tests/actors/test_job.py::test_train_as_a_submitted_job",
}
QUICK = ("vgrout doctor", "vgrout data ", "vgrout simulate", "vgrout train configs/qwen3-4b.toml --dry-run")
CHAIN = ("vgrout train configs/tiny.toml", "vgrout train --resume", "vgrout eval", "vgrout export", "vgrout report out/my-run")
GRADE = "vgrout grade "


def vgrout(words: list[str]) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, from the root of the repository."""
    command = [sys.executable, "-m", "vgrout_cli.main", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"})
    assert done.returncode == 0, f"{words}: exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done


def test_every_command_is_run_somewhere():
    known = (*ELSEWHERE, *QUICK, *CHAIN, GRADE, "make test")
    assert [line for line in COMMANDS if not line.startswith(known)] == []
    assert "make test" in (ROOT / ".ci/run").read_text().splitlines()
    for test in ELSEWHERE.values():
        path, _, name = test.partition("::")
        assert (ROOT / path).is_file() and f"def {name}" in (ROOT / path).read_text(), test


@pytest.mark.parametrize("line", [c for c in COMMANDS if "vgrout " in c])
def test_command_parses(line):
    words = shlex.split(line)
    args = parser().parse_args(words[words.index("vgrout") + 1 :])
    config = getattr(args, "config", None)
    assert config is None or (ROOT / config).is_file()


@pytest.mark.parametrize("line", [c for c in COMMANDS if c.startswith(QUICK)])
def test_quick_command_runs(line):
    words = shlex.split(line)[1:]
    if "configs/qwen3-4b.toml" in words:  # the problems of the benchmark are not part of the repository
        words += [w for name in ("train", "test") for w in ("--set", f"data.{name}=configs/tiny/{name}.jsonl")]
    assert vgrout(words).stdout.strip()


def test_grade_runs(tmp_path):
    row = json.loads((ROOT / "configs/tiny/test.jsonl").read_text().splitlines()[0])
    (tmp_path / "P.jsonl").write_text(json.dumps(row) + "\n")
    answer = {"id": row["id"], "completion": f"```python\n{row['canonical_solution']}\n```", "mode": "gt_only"}
    (tmp_path / "C.jsonl").write_text(json.dumps(answer) + "\n")
    (line,) = [c for c in COMMANDS if c.startswith(GRADE)]
    vgrout([str(tmp_path / w) if w.endswith(".jsonl") else w for w in shlex.split(line)[1:]])
    (verdict,) = map(json.loads, (tmp_path / "V.jsonl").read_text().splitlines())
    assert verdict["correct"] is True


@pytest.mark.slow
def test_the_commands_of_a_run_follow_each_other(tmp_path):
    """Train, resume, evaluate, export, report: the lines as they stand, in a folder of the test, with small settings."""
    for line in (c for c in COMMANDS if c.startswith(CHAIN)):
        words = [w.replace("out/", f"{tmp_path}/") if w.startswith("out/") else w for w in shlex.split(line)[1:]]
        if "configs/tiny.toml" in words:
            words += [w for text in SMALL for w in ("--set", text)]
        if words[0] == "report":
            words[-1] = str(tmp_path / "report")
        vgrout(words)
    assert (tmp_path / "my-deploy/adapter_model.safetensors").is_file() and (tmp_path / "report/report.html").is_file()


def test_make_targets_exist():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    named = {word for line in COMMANDS if line.startswith("make ") for word in line.split()[1:]}
    assert named == {"demo", "test"} and named <= targets


def test_links_and_rooms_exist():
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert links and all((ROOT / link).exists() for link in links)
    tree = re.findall(r"^(\w+)/  ", README, re.M)
    folders = {p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith(".")} - {"out", "report"}
    tracked = set(
        subprocess.run(["git", "ls-tree", "-d", "--name-only", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    )
    assert set(tree) == (folders & tracked if tracked else set(tree))
    inside = {
        name
        for name in re.findall(r"\b(\w+)/(?= |,|;|\.|$)", README.partition("## What is where")[2].partition("```\n\n")[0], re.M)
    }
    assert all(any((ROOT / room / name).is_dir() for room in ("", *tree)) for name in inside), inside
