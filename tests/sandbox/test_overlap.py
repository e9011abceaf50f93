"""Contamination: the same question under another hint, case or layout is found in every place where it must not be."""

import dataclasses
import json
from pathlib import Path

import pytest
from small_problems import squares

from sandbox.problems.contamination import check_overlaps, normalised, pair_overlaps, prompt_overlaps
from sandbox.problems.prompts import HINTS, PHRASE, render
from vgrout.errors import UserError
from vgrout.pairs import load
from vgrout.records import Message, Mode, Problem
from vgrout_cli.main import main

WORLD = Path("configs/tiny")


def asking(number: int, text: str) -> Problem:
    return dataclasses.replace(squares(), id=number, messages=(Message("system", "You are kind."), Message("user", text)))


SUM = asking(1, f"Return the sum of nums,\n{PHRASE}.")


@pytest.mark.parametrize("mode", Mode)
def test_a_hint_does_not_make_another_question(mode: Mode) -> None:
    assert normalised(render(SUM, mode)) == normalised(SUM.messages) == "return the sum of nums"


def test_a_reworded_layout_in_test_is_found_and_another_question_is_not() -> None:
    again = asking(9, f"return  THE sum of `nums` {HINTS[Mode.SENTINEL]}")
    other = asking(10, f"Return the product of nums, {PHRASE}.")
    (finding,) = prompt_overlaps([SUM], [other, again])
    assert finding.where == "test problem 9" and "training problem 1" in finding.found


def test_a_pair_that_asks_a_problem_or_names_its_id_is_found(tmp_path: Path) -> None:
    pair = {"tag": "general", "hack": "x = 1", "clean": "x = 2"}
    prompts = [SUM.messages[1].content, "Return the last of nums."]
    rows = [
        {**pair, "id": name, "problem_id": number, "prompt": [{"role": "user", "content": prompt}]}
        for name, number, prompt in (("a", 99, prompts[0]), ("b", 1, prompts[1]), ("c", 99, prompts[1]))
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = pair_overlaps(path, load(path), [SUM])
    assert [f.where for f in found] == [f"{path}, pair a", f"{path}, pair b"]
    with pytest.raises(UserError, match="pair a"):
        check_overlaps([SUM], [], path, load(path))


def test_a_contaminated_pair_file_is_refused_before_a_run_exists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    problem = json.loads((WORLD / "test.jsonl").read_text().splitlines()[0])
    rows = [json.loads(line) for line in (WORLD / "pairs.jsonl").read_text().splitlines()]
    rows[5]["prompt"] = problem["prompt"]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    where = f"{path}, pair {rows[5]['id']}: found the prompt of problem {problem['id']}"
    command = ["train", "configs/tiny.toml", "--out", str(tmp_path / "run"), "--set", "runtime.backend=local"]
    assert main([*command, "--set", f"data.pairs={path}"]) == 2
    assert where in capsys.readouterr().err and not (tmp_path / "run").exists()
    splits = [str(WORLD / "train.jsonl"), str(WORLD / "test.jsonl")]
    assert main(["data", "check", *splits, "--pairs", str(path)]) == 2
    assert where in capsys.readouterr().out


def test_the_shipped_world_is_not_contaminated(capsys: pytest.CaptureFixture[str]) -> None:
    splits = [str(WORLD / "train.jsonl"), str(WORLD / "test.jsonl")]
    assert main(["data", "check", *splits, "--pairs", str(WORLD / "pairs.jsonl")]) == 0
    assert "32 pairs, 0 findings" in capsys.readouterr().out
