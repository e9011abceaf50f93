"""Rows in the form of MBPP, HumanEval and LeetCodeDataset become problems whose own solution the grader finds correct."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

from sandbox import GradeJob, Grader, Mode, load_problems
from sandbox.problems.contamination import prompt_overlaps
from sandbox.problems.convert import SOURCES
from sandbox.problems.load import FIELDS
from sandbox.problems.prompts import HINTS, render
from vgrout_cli.main import main

PAGE = (Path(__file__).parents[2] / "docs/reference/problems.md").read_text()
MBPP = {
    "task_id": 11, "text": "Write a function to add two numbers.", "code": "def add(a, b):\r\n    return a + b",
    "test_list": ["assert add(1, 2) == 3", "assert add(-1, b=1) == 0"], "test_setup_code": "", "challenge_test_list": [],
}  # fmt: skip
HUMANEVAL = {
    "task_id": "HumanEval/0", "entry_point": "total", "canonical_solution": "    return sum(xs)\n",
    "prompt": "from typing import List\n\n\ndef total(xs: List[int]) -> int:\n    \"\"\" The sum. \"\"\"\n",
    "test": "METADATA = {'a': 'b'}\n\ndef check(candidate):\n    assert candidate([1, 2]) == 3\n    assert candidate([]) == 0\n",
}  # fmt: skip
LEETCODE = {
    "task_id": "two", "question_id": 7, "prompt": "import math\n", "problem_description": "Double n.",
    "entry_point": "Solution().double", "completion": "class Solution:\n    def double(self, n):\n        return 2 * n",
    "test": "def check(candidate):\n    assert candidate(n = 2) == 4\n",
}  # fmt: skip


def converted(tmp_path: Path, rows: list[dict], *flags: str) -> int:
    source = tmp_path / "source.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "out.jsonl").unlink(missing_ok=True)
    return main(["data", "convert", str(source), str(tmp_path / "out.jsonl"), *flags])


def test_their_own_solutions_are_correct_and_another_is_not(tmp_path):
    assert converted(tmp_path, [MBPP, HUMANEVAL, LEETCODE], "--first-id", "100") == 0
    problems = load_problems(tmp_path / "out.jsonl")
    assert [(p.id, p.entry, len(p.cases)) for p in problems] == [(11, "add", 2), (101, "total", 2), (7, "double", 1)]
    assert main(["data", "check", str(tmp_path / "out.jsonl")]) == 0
    with Grader() as grader:
        for problem in problems:
            right, wrong = problem.canonical_solution, problem.canonical_solution.replace("return", "return 1 +")
            found = [grader.grade(GradeJob("0", problem, Mode.GT_ONLY, f"```python\n{text}\n```"))[1] for text in (right, wrong)]
            assert [one.correct for one in found] == [True, False], problem.entry


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"test_list": ["for x in []:\n    assert add(x, 1) == 2"]}, "a For"),
        ({"test_list": ["assert add(1, 2) == other(3)"]}, "expected"),
        ({"test_list": ["print(add(1, 2))"]}, "an assert"),
        ({"code": "def sub(a, b):\n    return a - b"}, "a function add"),
        ({"text": ""}, "question"),
        ({"text": [3]}, "question"),
        ({"test_list": ["assert add(1"]}, "no Python"),
    ],
)
def test_a_row_that_does_not_fit_is_named_or_left_out(change, said, tmp_path, capsys):
    bad = {**MBPP, "task_id": 12, **change}
    assert converted(tmp_path, [MBPP, bad]) == 2
    message = capsys.readouterr().err
    assert said in message and "source.jsonl:2" in message and "--drop" in message and not (tmp_path / "out.jsonl").exists()
    assert converted(tmp_path, [MBPP, bad], "--drop") == 0
    assert [p.id for p in load_problems(tmp_path / "out.jsonl")] == [11]


def test_hints_replace_the_words_that_the_questions_have(tmp_path, capsys):
    words = "so that every assertion holds"
    asked = {**MBPP, "text": f"Write add {words}."}
    assert converted(tmp_path, [asked, HUMANEVAL], "--phrase", words) == 0
    own, other = load_problems(tmp_path / "out.jsonl")
    assert render(own, Mode.GT_ONLY)[0].content == f"Write add {words}."
    assert render(own, Mode.SENTINEL)[0].content == f"Write add {HINTS[Mode.SENTINEL]}."
    assert HINTS[Mode.SENTINEL] in render(other, Mode.SENTINEL)[0].content
    hinted = dataclasses.replace(own, messages=render(own, Mode.SENTINEL), phrase=HINTS[Mode.SENTINEL])
    assert prompt_overlaps([own], [hinted]), "the same question under another hint"
    row = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    for wrong in ({"phrase": ""}, {"phrase": 3}, {"phrase": "not there"}):
        (tmp_path / "wrong.jsonl").write_text(json.dumps(row | wrong) + "\n")
        assert main(["data", "check", str(tmp_path / "wrong.jsonl")]) != 0


def test_fields_of_other_names_can_be_named(tmp_path, capsys):
    row = {"say": MBPP["text"], "asserts": MBPP["test_list"], "answer": MBPP["code"]}
    named = [
        w
        for part, field in (("question", "say"), ("tests", "asserts"), ("solution", "answer"))
        for w in ("--field", f"{part}={field}")
    ]
    assert converted(tmp_path, [row], *named) == 0
    assert converted(tmp_path, [row, row], *named, "--first-id", "5") == 0
    assert converted(tmp_path, [MBPP, MBPP]) == 2 and "again" in capsys.readouterr().err
    assert converted(tmp_path, [row], "--field", "text=say") == 2


def test_the_page_lists_every_field():
    schema, parts = (dict(re.findall(r"^\| `?(\w+)`? \| ([^|]*) \|", text, re.M)) for text in PAGE.split("## From another"))
    assert set(schema) - {"field"} == set(FIELDS)
    assert {name: tuple(re.findall(r"`(\w+)`", fields)) for name, fields in parts.items() if name != "part"} == SOURCES
