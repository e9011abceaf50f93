"""Who worked when: spans are joined where one follows the other, and end where the part is gone."""

import pytest

from actors.rollouts import work_log
from actors.rollouts.work_log import WorkLog


@pytest.fixture
def at(monkeypatch):
    """Sets the clock."""
    now = [0.0]
    monkeypatch.setattr(work_log.time, "time", lambda: now[0])
    return lambda value: now.__setitem__(0, value)


def test_slices_that_follow_each_other_are_one_span(at):
    log = WorkLog()
    first = log.begin("engine-0", "sample")
    at(1.0)
    log.end(first)
    second = log.begin("engine-0", "sample")
    at(2.0)
    log.end(second)
    at(5.0)
    third = log.begin("engine-0", "sample")
    at(6.0)
    log.end(third)
    assert log.take() == [("engine-0", "sample", 0.0, 2.0), ("engine-0", "sample", 5.0, 6.0)]
    assert log.take() == []


def test_what_a_dead_part_was_asked_for_ends_with_it(at):
    log = WorkLog()
    lost, other = log.begin("engine-0", "sample"), log.begin("engine-1", "sample")
    at(3.0)
    log.lost("engine-0")
    log.end(lost)  # its answer never counts twice
    at(4.0)
    log.end(other)
    assert log.take() == [("engine-0", "sample", 0.0, 3.0), ("engine-1", "sample", 0.0, 4.0)]
