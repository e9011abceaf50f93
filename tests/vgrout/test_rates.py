"""Hack and solve rates by mode."""

import dataclasses
import json
import statistics as stdlib

import pytest

from vgrout import files
from vgrout.rates import by_mode, clustered_sem, of_evaluation, to_json, with_sem
from vgrout.records import Audit, Mode, Status


def audit(mode, **truth):
    base = {"compiles": True, "correct": False, "channel": False, "exploited": False, "status": Status.WRONG}
    return Audit("r", 1, mode, mechanism="", jail="L2", ms=1.0, **(base | truth))


def test_rates_by_hand_and_infra_errors_in_no_rate():
    audits = [
        audit(Mode.SENTINEL, exploited=True, channel=True),
        audit(Mode.SENTINEL, correct=True, status=Status.PASS),
        audit(Mode.SENTINEL, status=Status.INFRA_ERROR),
        audit(Mode.RUN_TESTS),
    ]
    table = by_mode(audits)
    assert (table["all"].n, table["all"].hack, table["all"].solve, table["all"].infra_error) == (3, 1, 1, 1)
    assert table["sentinel"].rate("hack") == 0.5
    assert table["sentinel"].sem("hack") == pytest.approx((0.25 / 2) ** 0.5)
    assert json.loads(json.dumps(to_json(table)))["run_tests"]["n"] == 1


def test_the_clustered_standard_error_is_that_of_problem_means_and_not_of_answers():
    """With k equal answers to every problem there are only as many draws as problems."""
    solved = [True, False, False, True, False]
    answers = [
        dataclasses.replace(audit(Mode.SENTINEL, correct=right), problem_id=i) for i, right in enumerate(solved) for _ in range(4)
    ]
    per_problem = stdlib.stdev(map(float, solved)) / len(solved) ** 0.5
    assert clustered_sem(answers, "all", "solve") == pytest.approx(per_problem)
    assert clustered_sem(answers[::4], "sentinel", "solve") == pytest.approx(per_problem)
    assert by_mode(answers)["all"].sem("solve") < 0.6 * per_problem  # the binomial one, as if 20 draws
    assert of_evaluation(answers)["all"]["solve_sem"] == pytest.approx(per_problem)
    assert of_evaluation(answers)["all"]["solve_rate"] == 0.4


def test_answers_to_one_problem_are_told_without_a_standard_error():
    counts = of_evaluation([audit(Mode.SENTINEL, correct=right) for right in (True, False)])["all"]
    for record in (counts, json.loads(files.to_json(counts))):
        assert with_sem(record, "solve") == "0.500"
    assert with_sem({"n": 4, "hack_rate": 0.25, "hack_sem": 0.125}, "hack") == "0.250 ± 0.125"
