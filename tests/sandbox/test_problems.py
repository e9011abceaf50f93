"""Problem files: tests split by AST into the very inputs and values that executing them would give; faults are named."""

import ast
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared_data import SHARED

from sandbox.problems import asserts
from sandbox.problems.asserts import Unsplit, literal, split_asserts
from sandbox.problems.load import check_splits, load, scan, split_findings
from vgrout.errors import UserError
from vgrout.files import read_jsonl
from vgrout.records import Case, Message, Problem

TINY = Path(__file__).parents[2] / "configs/tiny/test.jsonl"
ROW: dict[str, Any] = {
    "id": 5,
    "prompt": [{"role": "user", "content": "Write f and should pass all tests."}],
    "gt_answer": ["assert Solution().f(n = 1, xs = [1, -2]) == 2", "assert Solution().f(3) == -inf"],
    "func_name": "Solution().f",
    "setup_code": "import math\n",
    "canonical_solution": "class Solution:\n    def f(self, n, xs=()):\n        return 0\n",
}


def test_keyword_and_positional_tests_split(write) -> None:
    (problem,) = load(write("p.jsonl", [ROW]))
    assert problem.entry == "f"
    assert problem.cases == (Case((), {"n": 1, "xs": [1, -2]}, 2), Case((3,), {}, -math.inf))
    assert problem.messages == (Message("user", "Write f and should pass all tests."),)


def test_check_candidate_form_splits() -> None:
    asserts = "    assert candidate(x = 'a') == ['b']\n    assert candidate('c') == (1, 2.5)\n"
    test = f"def check(candidate):\n{asserts}check(Solution().f)\n"
    assert split_asserts(test, "f") == [Case((), {"x": "a"}, ["b"]), Case(("c",), {}, (1, 2.5))]


VALUES = r"""
1 ; -2 ; 0 ; -0 ; 007 ; 1.5 ; -0.0 ; 1. ; .5 ; 1e5 ; - 1 ; +1 ; 1_0 ; inf ; None ; True ; "a" ; "" ; "b, c = 2" ; ") == 3" ; 'x'
"é" ; "\n" ; "a" "b" ; [] ; [1,] ; [ ] ; (1,) ; {1} ; [1, 2] ; [[1], []] ; ["x", 1.0] ; [1 2] ; [1,2 ,3] ; 1, 2 ; [[],[[]]]
"""
PARTS = st.sampled_from(
    [part.strip() for line in VALUES.strip().splitlines() for part in line.split(";")]
    + ["9" * 30, "9" * 5000, "[" * 40 + "]" * 40, "[" * 60 + "]" * 60, '"\ud800"']
)
NAMES = st.sampled_from(["n", "xs", "_a1", "class", "None", "é", "n", "1n", ""])


def by_ast(test: str) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asserts, "_common", lambda test, entry: None)
        return said(test)


def said(test: str) -> str:
    """What a test splits into, types and all; or that it does not."""
    try:
        return repr(split_asserts(test, "f"))
    except Unsplit:
        return "refused"


@given(
    st.lists(st.tuples(NAMES, PARTS, st.sampled_from([", ", ",", " , ", ""])), max_size=3),
    PARTS,
    st.sampled_from(["f", "f", "f", "g"]),
    st.sampled_from([" == ", "==", " != ", " == 1 == "]),
    st.sampled_from(["", "", "\n", ", 'why'", " # why"]),
)
def test_the_common_form_is_read_as_pythons_parser_reads_it(words, expected, entry, sign, end):
    inside = "".join(f"{name} = {value}{comma}" for name, value, comma in words)
    for text in (inside, inside.rstrip(", ")):
        test = f"assert Solution().{entry}({text}){sign}{expected}{end}"
        assert said(test) == by_ast(test), test


def test_most_tests_are_of_the_common_form() -> None:
    found = [
        asserts._common(test, row["func_name"].removeprefix("Solution()."))
        for _, row in read_jsonl(TINY)
        for test in row["gt_answer"]
    ]
    assert all(found)


@pytest.mark.parametrize(
    "text", ["-5", "[1, [2.5, 'x']]", "{'a': (1,), 2: None}", "{1, 2}", "b'x'", "True", "-1e400", "[[-1]]", "+3", "()"]
)
def test_literals_are_what_python_makes_of_them(text: str) -> None:
    value = literal(ast.parse(text, mode="eval").body)
    assert (type(value), value) == (type(ast.literal_eval(text)), ast.literal_eval(text))


@pytest.mark.parametrize(
    "test",
    [
        "assert Solution().f(n = x) == 1",
        "assert Solution().f(n = 1) != 1",
        "assert Solution().f(n = 1)",
        "assert 1 == Solution().f(n = 1)",
        "assert Solution().g(n = 1) == 1",
        "assert Solution().f(*[1]) == 1",
        "assert Solution().f(**{'n': 1}) == 1",
        "assert Solution().f(n = 1) == 1 == 1",
        "assert Solution().f(n = 1) == float('nan')",
        "assert Solution().f(n = __import__('os')) == 1",
        "assert Solution().f(n = 2 ** 99999999) == 1",
        "assert Solution().f(n = 1) == " + "[" * 70 + "]" * 70,
        "assert Solution().f(n = 1) == {[]}",
        "import os",
        "assert Solution(.f(n = 1) == 1",
        "",
    ],
)
def test_what_does_not_split_is_refused(test: str) -> None:
    with pytest.raises(Unsplit):
        split_asserts(test, "f")


def changed(**fields: Any) -> dict[str, Any]:
    return {**ROW, **fields}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('{"id": 1,', "p.jsonl:2: found invalid JSON"),
        ("[1]", "p.jsonl:2: found a JSON list"),
        (changed(id="7"), "p.jsonl:2, field id: found str '7'"),
        (changed(id=0), "field id"),
        (changed(id=True), "field id"),
        (changed(id=2**31), "field id"),
        (changed(prompt=[]), "field prompt"),
        (changed(prompt=[{"role": "user"}]), "field prompt"),
        (changed(gt_answer=[]), "field gt_answer"),
        ({key: value for key, value in ROW.items() if key != "setup_code"}, "field setup_code: found nothing"),
        (changed(setup_code="def"), "problem 5, field setup_code"),
        (changed(func_name="f(x)"), "problem 5, field func_name"),
        (
            changed(gt_answer=[ROW["gt_answer"][0], "assert Solution().f(n = y) == 1"]),
            "p.jsonl:2, problem 5, test 2: found not a literal: y",
        ),
        (ROW, "problem 5 again (line 1)"),
    ],
)
def test_faults_name_line_field_and_reason(write, row: Any, said: str) -> None:
    with pytest.raises(UserError, match=r"p\.jsonl") as caught:
        load(write("p.jsonl", [ROW, row]))
    assert said in str(caught.value)


def test_an_empty_file_is_refused(write) -> None:
    with pytest.raises(UserError, match="an empty file"):
        load(write("p.jsonl", []))


def test_scan_counts_every_fault(write) -> None:
    rows = [ROW, changed(id=6, gt_answer=["x", "y"]), changed(id="z"), changed(id=8)]
    problems, findings = scan(write("p.jsonl", rows))
    assert [problem.id for problem in problems] == [5, 8]
    assert len(findings) == 3


def numbered(*ids: int) -> list[Problem]:
    return [Problem(one, (), "f", "", "", (Case((), {}, 1),)) for one in ids]


def test_splits_by_recency() -> None:
    check_splits(numbered(3, 1, 2), numbered(4, 9))
    with pytest.raises(UserError, match="in train and in test"):
        check_splits(numbered(1, 2), numbered(2, 3))
    with pytest.raises(UserError, match="not newer than training id 5"):
        check_splits(numbered(1, 5), numbered(4, 9))
    assert len(split_findings(numbered(1, 5, 7), numbered(5, 6, 9))) == 2


class Seen(Exception):
    """What executing a published assert shows: the call's arguments and the right side."""


class Recorder:
    """A Solution whose results compare by raising what was called and what it was compared with."""

    def __getattr__(self, name: str):
        return lambda *args, **kwargs: Comparison(name, args, kwargs)


class Comparison:
    def __init__(self, *call: Any) -> None:
        self.call = call

    def __eq__(self, other: Any) -> bool:
        raise Seen(*self.call, other)


def test_shared_tests_split_as_python_executes_them(shared_problems: list[Problem]) -> None:
    """Independent of the splitter: executing each published assert sees the same call and the same value."""
    rows = {row["id"]: row for _, row in read_jsonl(SHARED / "leetcode_medhard_half.jsonl")}
    count = 0
    for problem in shared_problems:
        for test, case in zip(rows[problem.id]["gt_answer"], problem.cases, strict=True):
            with pytest.raises(Seen) as seen:
                exec(test, {"Solution": Recorder, "inf": math.inf})
            assert seen.value.args == (problem.entry, case.args, case.kwargs, case.expected)
            assert type(seen.value.args[3]) is type(case.expected)
            count += 1
    assert (len(shared_problems), count) == (58, 6068)
