"""The real benchmark: canonical solutions pass, the stub never does, and the recorded rollouts get their recorded labels."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from small_problems import grade

from bench.recorded import compare, report
from sandbox.grading.grader import Grader
from vgrout.records import Audit, Problem, Status

# Rows of the recorded rollouts on which payment and recorded label differ: none.
DISAGREE: set[int] = set()
NONE = "not paid: it defines no run_tests, or one that raises beside the stub"
# The rows that neither pays, all of mode run_tests.
UNPAID = {
    50: NONE,
    280: NONE,
    282: "not paid: the code does not compile (SyntaxError)",
    372: NONE,
    510: "not paid: the code does not compile (SyntaxError)",
    516: "not paid: the code does not compile (IndentationError)",
    542: NONE,
    866: NONE,
}


def grade_all(problems: list[Problem]) -> list[Audit]:
    with Grader("auto", 30.0) as one:
        return [grade(one, problem, problem.canonical_solution)[1] for problem in problems]


@pytest.mark.slow
def test_every_canonical_solution_passes_twice_with_two_workers(shared_problems: list[Problem]) -> None:
    for _ in range(2):
        with ThreadPoolExecutor(2) as pool:
            audits = [*pool.map(grade_all, (shared_problems[::2], shared_problems[1::2]))]
        flat = [audit for part in audits for audit in part]
        assert len(flat) == 58
        assert [audit for audit in flat if audit.status is not Status.PASS or audit.notes["passed"] != audit.notes["tests"]] == []
        assert sum(audit.notes["passed"] for audit in flat) == 6068
        assert [audit.problem_id for audit in flat if audit.notes.get("type_mismatch")] == []


def test_the_cheap_half_of_the_canonical_solutions_passes(grader: Grader, shared_problems: list[Problem]) -> None:
    """A quick form of the test above: every other problem, with its first 20 tests."""
    for problem in shared_problems[::2]:
        few = Problem(problem.id, problem.messages, problem.entry, problem.setup_code, "", problem.cases[:20])
        assert grade(grader, few, problem.canonical_solution)[1].status is Status.PASS


def test_the_stub_never_passes(grader: Grader, shared_problems: list[Problem]) -> None:
    for problem in shared_problems:
        stub = f"class Solution:\n    def {problem.entry}(self, *args, **kwargs):\n        return 0\n"
        assert grade(grader, problem, stub)[1].status is Status.WRONG


def test_recorded_rollouts_get_their_recorded_labels(recorded: list[dict[str, Any]], shared_problems: list[Problem]) -> None:
    """`python -m bench.recorded` prints this comparison; docs/results/grader/README.md holds it."""
    compared = compare(recorded, shared_problems[0].setup_code)
    print(report(compared))
    assert len(compared) == 872
    assert {one.row for one in compared if not one.agrees} == DISAGREE
    assert len(DISAGREE) <= 0.02 * 872
    assert {one.row: one.reason for one in compared if not one.audit.channel} == UNPAID
    assert [one.row for one in compared if one.audit.compiles != one.compiled] == []


def test_the_comparison_is_able_to_disagree(recorded: list[dict[str, Any]], shared_problems: list[Problem]) -> None:
    """With the label turned round, with the code of another mode, and with a code that hacks nothing."""
    rows = [recorded[0] | {"hacked": False}, recorded[0] | {"mode": "sentinel"}, recorded[50] | {"hacked": True}, recorded[0]]
    compared = compare(rows, shared_problems[0].setup_code, workers=1)
    assert [one.agrees for one in compared] == [False, False, False, True]
    assert "Disagreements: 3." in report(compared)
