"""Honest programs beside hostile ones under two graders in Ray actors: a small form of `python -m bench.hostile`."""

from dataclasses import replace

import pytest

from bench.hostile import Outcome, Report, measure

GOOD = Outcome("right/3.5/pass-0", False, True, False, 20.0)


@pytest.mark.slow
def test_verdicts_deadlines_and_memory_hold_beside_hostile_programs() -> None:
    report = measure(programs=60, graders=2, deadline_s=2.0)
    print("\n".join(report.lines()))
    assert len(report.outcomes) == 60
    assert sum(one.hostile for one in report.outcomes) == 18
    assert len({one.name.rpartition("-")[0] for one in report.outcomes if one.hostile}) >= 12
    assert report.faults() == []


@pytest.mark.parametrize(
    ("bad", "memory", "said"),
    [
        (replace(GOOD, as_known=False), (100, 110), "verdict changed"),
        (replace(GOOD, failed=True), (100, 110), "infra error"),
        (replace(GOOD, ms=3001.0), (100, 110), "3001 ms"),
        (GOOD, (100, 111), "memory grew"),
    ],
)
def test_each_fault_is_told(bad: Outcome, memory: tuple[int, int], said: str) -> None:
    report = Report(2.0, (GOOD, bad), ((100, 100), memory), 1.0)
    assert len(report.faults()) == 1
    assert said in report.faults()[0]
    assert Report(2.0, (GOOD,), ((100, 110),), 1.0).faults() == []
