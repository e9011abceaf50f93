"""Presets inherit, lie anywhere and go by name; arms are found beside a preset, among the packaged ones, or by path."""

import json
import os
from pathlib import Path

import pytest

from vgrout.config import load
from vgrout.errors import UserError
from vgrout.presets import packaged
from vgrout_cli.main import main
from vgrout_cli.suite.plan import load as load_suite


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_preset_of_ones_own_inherits_from_a_packaged_one_and_takes_packaged_arms(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mine = write(tmp_path / "deep/mine.toml", 'extends = "tiny"\n[lora]\nrank = 8\n[data]\ntrain = "./own.jsonl"\n')
    config, tiny = load(mine, arm="vanilla"), load("tiny", arm="vanilla")
    assert config.preset == "mine"
    assert config.lora.rank == 8
    assert config.data.train == str(tmp_path / "deep/own.jsonl")
    assert (config.model, config.data.test, config.gate) == (tiny.model, tiny.data.test, tiny.gate)


def test_inheritance_goes_on_by_path_and_the_nearest_wins(tmp_path):
    write(tmp_path / "a.toml", 'extends = "tiny"\narm = "absorb"\n[lora]\nrank = 8\n[optim]\nlr = 0.5\n')
    b = write(tmp_path / "sub/b.toml", 'extends = "../a.toml"\n[lora]\nrank = 4\n')
    config = load(b)
    assert (config.lora.rank, config.optim.lr, config.arm, config.preset) == (4, 0.5, "absorb", "b")


def test_a_circle_and_a_missing_parent_are_named(tmp_path):
    a = write(tmp_path / "a.toml", 'extends = "./b.toml"\n')
    write(tmp_path / "b.toml", 'extends = "a.toml"\n')
    with pytest.raises(UserError, match="a circle"):
        load(a)
    with pytest.raises(UserError, match=r"extends.*did you mean qwen3-4b"):
        load(write(tmp_path / "c.toml", 'extends = "qwen3-4bb"\n'))
    with pytest.raises(UserError, match=r"none\.toml: found no such file"):
        load(write(tmp_path / "d.toml", 'extends = "./none.toml"\n'))
    with pytest.raises(UserError, match=r"extends: found 3"):
        load(write(tmp_path / "e.toml", "extends = 3\n"))


def test_ones_own_arm_beside_the_preset_or_by_path(tmp_path):
    mine = write(tmp_path / "mine.toml", 'extends = "tiny"\n')
    own = write(tmp_path / "arms/own.toml", '# My arm.\n[gate]\nrule = "pinned"\npin = "hack"\n')
    assert load(mine, arm="own") == load(mine, arm=str(own)) != load(mine)
    with pytest.raises(UserError, match="--arm: found 'own'"):
        load("tiny", arm="own")
    with pytest.raises(UserError, match="did you mean own"):
        load(mine, arm="onw")


def test_another_rule_drops_the_values_that_it_does_not_have(tmp_path):
    assert load("tiny", sets=["gate.rule=quantile"]).gate.rule == "quantile"  # tiny's upper_scale is of rule pairs
    assert load("tiny", arm="vanilla").to_dict()["gate"] == {"rule": "pinned", "pin": "clean"}
    with pytest.raises(UserError, match=r"gate\.upper_scale: found an unknown key"):
        load("tiny", arm="vanilla", sets=["gate.upper_scale=0.5"])


def test_names_work_from_any_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "tiny", "not a preset")
    assert main(["train", "tiny", "--dry-run"]) == 0
    assert "plan of tiny, arm routev" in capsys.readouterr().out
    assert main(["train", "tinny", "--dry-run"]) == 2
    assert "did you mean tiny?" in capsys.readouterr().err
    assert load_suite("tiny-long").arms == ("vanilla", "routev") and load_suite("tiny-long").config == packaged() / "tiny.toml"
    assert main(["simulate", "straggler", "--set", "train.updates=2"]) == 0
    assert main(["suite", "tiny-longg"]) == 2
    assert os.listdir(tmp_path) == ["tiny"]  # noqa: PTH208


def test_arms_are_listed_with_their_meaning(tmp_path, capsys):
    write(tmp_path / "arms/own.toml", '# My arm.\n[gate]\nrule = "pinned"\n')
    assert main(["arms", str(write(tmp_path / "mine.toml", ""))]) == 0
    said = capsys.readouterr().out
    assert "own\n    My arm.\n    gate.rule=pinned" in said
    assert "placebo\n" in said
    assert "reference_arm=routev" in said


def test_an_own_placebo_needs_no_code(tmp_path):
    write(tmp_path / "arms/mine.toml", '[gate]\nrule = "pairs"\nupper_scale = 0.7\n')
    write(tmp_path / "arms/mine_placebo.toml", '[gate]\nrule = "matched"\nreference_arm = "mine"\n')
    write(tmp_path / "mine.toml", 'extends = "tiny"\n')
    suite = load_suite(write(tmp_path / "s.toml", 'config = "./mine.toml"\narms = ["mine_placebo", "mine"]\nseeds = [1]\n'))
    assert suite.needs == {"mine_placebo": "mine"}


def test_the_teacher_file_holds_the_canonical_solutions():
    config = load("tiny-teacher")
    problems = {row["id"]: row for row in map(json.loads, Path(config.data.train).read_text().splitlines())}
    rows = [json.loads(line) for line in Path(config.teacher.path).read_text().splitlines()]
    assert len(rows) > 50
    for row in rows:
        assert row["completion"] == f"```python\n{problems[row['problem_id']]['canonical_solution']}\n```"
