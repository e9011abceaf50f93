"""Hack and solve rates by mode."""

import json

import pytest

from vgrout.rates import by_mode, to_json
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
