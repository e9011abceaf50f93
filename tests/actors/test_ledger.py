"""Staleness and ledger: every ordinal is consumed once or dropped with a reason, whatever happens in whatever order."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.async_run.group_ledger import Ledger, Stage
from actors.async_run.staleness import room, young
from vgrout.group_records import Reason


@settings(deadline=None)
@given(st.integers(0, 20), st.integers(0, 5), st.integers(0, 60), st.integers(1, 7), st.integers(1, 30))
def test_pacing_admits_exactly_what_enforcement_accepts(version, staleness, alive, prompts, updates):
    """The group at place `alive` of the queue goes to update next + alive // prompts; asked one by one, independently."""
    for next_update in (version, version + 1):
        places = room(
            version=version, next_update=next_update, alive=alive, prompts=prompts, max_staleness=staleness, updates=updates
        )
        for place in range(alive, alive + places + 2 * prompts):
            update = next_update + place // prompts
            fits = young(version=version, update=update, max_staleness=staleness) and update < updates
            assert fits == (place < alive + places)


def test_max_staleness_zero_is_lock_step():
    limits = {"prompts": 3, "max_staleness": 0, "updates": 9}
    assert room(version=4, next_update=4, alive=0, **limits) == 3
    assert room(version=4, next_update=4, alive=3, **limits) == 0
    assert room(version=4, next_update=5, alive=0, **limits) == 0  # the learner has taken its batch: wait for its weights


class Shadow:
    """What happened, kept by the test alone."""

    def __init__(self):
        self.consumed, self.final, self.running, self.sampled = [], [], [], []


@settings(deadline=None)
@given(st.data(), st.integers(1, 3), st.integers(0, 2))
def test_every_ordinal_is_consumed_once_or_dropped_for_good(data, prompts, staleness):
    ledger, shadow, version = Ledger(attempts=2), Shadow(), 0
    for _ in range(data.draw(st.integers(1, 60))):
        step = data.draw(st.sampled_from(["admit", "sample", "grade", "lose", "take", "late"]))
        if step == "admit":
            entry = ledger.admit(data.draw(st.sampled_from("xy")), version)
            known = set(shadow.consumed) | set(shadow.final) | {o for o, *_ in shadow.running + shadow.sampled}
            known |= {e.ordinal for e in ledger.alive.values() if e.stage is Stage.READY}
            assert entry.ordinal == min(set(range(entry.ordinal + 1)) - known)  # the lowest that is free
            shadow.running.append((entry.ordinal, entry.attempt))
        elif step == "sample" and shadow.running:
            key = shadow.running.pop(data.draw(st.integers(0, len(shadow.running) - 1)))
            assert ledger.sampled(*key) and not ledger.sampled(*key)
            shadow.sampled.append(key)
        elif step == "grade" and shadow.sampled:
            key = shadow.sampled.pop(data.draw(st.integers(0, len(shadow.sampled) - 1)))
            assert ledger.graded(*key) and not ledger.graded(*key)
        elif step == "lose" and shadow.running:
            key = shadow.running.pop(0)
            dropped = ledger.lose(*key, Reason.ENGINE_LOST)
            assert dropped is not None and not dropped.final
            assert not ledger.sampled(*key)  # a late answer of a given-up attempt changes nothing
        elif step == "take":
            taken = ledger.take(version, prompts, staleness)
            assert len(taken.batch) in (0, prompts)
            assert all(0 <= version - e.version <= staleness for e in taken.batch)
            assert all(d.reason is Reason.OVER_AGE for d in taken.dropped)
            shadow.consumed += [e.ordinal for e in taken.batch]
            shadow.final += [d.ordinal for d in taken.dropped if d.final]
            version += len(taken.batch) > 0 or data.draw(st.booleans())
        settled = sorted(shadow.consumed + shadow.final)
        assert len(settled) == len(set(settled))
        assert settled == sorted([*range(ledger.frontier), *ledger.ahead]) and ledger.frontier not in ledger.ahead
        assert ledger.count(Stage.RUNNING) == len(shadow.running) == sum(ledger.load_of(e) for e in "xy")
    ended = ledger.end()
    assert all(d.final and d.reason is Reason.RUN_ENDED for d in ended) and not ledger.alive


def test_a_restored_ledger_goes_on_where_the_old_one_was():
    ledger = Ledger(frontier=4, ahead={6})
    ledger.adopt(5, 0, version=1)
    ledger.adopt(2, 0, version=1)  # settled: the journal still has it
    assert [ledger.admit("x", 2).ordinal for _ in range(3)] == [4, 7, 8]
    assert ledger.usable(2, 1) == 4 and ledger.usable(3, 1) == 3


def test_a_group_that_is_always_too_old_is_dropped_for_good_and_never_again_admitted():
    ledger = Ledger(attempts=2)
    for attempt in (0, 1):
        entry = ledger.admit("x", 0)
        assert (entry.ordinal, entry.attempt) == (0, attempt)
        assert ledger.sampled(0, attempt) and ledger.graded(0, attempt)
        (dropped,) = ledger.take(5, 1, 1).dropped
        assert dropped.final == (attempt == 1)
    assert ledger.admit("x", 5).ordinal == 1 and ledger.frontier == 1


@pytest.mark.parametrize("stage", ["sampled", "ready"])
def test_an_engines_death_does_not_take_what_it_had_delivered(stage):
    ledger = Ledger()
    ledger.admit("x", 0)
    ledger.sampled(0, 0)
    if stage == "ready":
        ledger.graded(0, 0)
    assert ledger.lose(0, 0, Reason.ENGINE_LOST) is None and 0 in ledger.alive
