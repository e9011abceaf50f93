"""The asynchronous driver's decisions in the simulated run: stopped, crashed, refused or silent, every group counts once."""

import dataclasses
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import SMALL, scripted

from actors.async_run import messages as e
from actors.async_run.group_ledger import Ledger
from actors.async_run.health import Fleet, Health
from actors.journal.journal import Past
from actors.simulation.invariants import InvariantBroken
from actors.simulation.scenario import Crash, Slow
from vgrout.group_records import Key, TakenBatch

PARTS = st.sampled_from(["engine-0", "engine-1", "engine-2", "grader-0", "grader-1", e.LEARNER])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 30), st.lists(st.builds(Crash, PARTS, st.floats(0, 30)), max_size=2))
def test_a_stopped_run_goes_on_from_its_checkpoint_without_losing_or_repeating_a_group(seed, stop_at, crashes):
    scenario = dataclasses.replace(SMALL, seed=seed, crash=tuple(crashes))
    first = scripted(scenario=scenario, stop_at=stop_at).run()
    done = len(first.checker.consumed)
    if first.end.outcome is e.EndReason.DONE:
        return
    assert first.end.outcome is e.EndReason.STOPPED
    assert first.checker.disk == done
    old = first.scheduler.ledger
    second = scripted(scenario=dataclasses.replace(scenario, crash=()))
    second.checker.learner = second.checker.disk = done
    second.checker.consumed, second.checker.dropped = dict(first.checker.consumed), list(first.checker.dropped)
    second.run(second.scheduler_at(done, {"frontier": old.frontier, "ahead": sorted(old.ahead)}))
    assert second.end.outcome is e.EndReason.DONE
    assert sorted(second.checker.consumed) == list(range(8))
    # What the stop interrupted is sampled again, before anything that comes later in the order.
    was, asked = Ledger(old.frontier, old.ahead), {key.ordinal for key in second.checker.wrote}
    assert asked == set([o for o in range(99) if not was.settled(o)][: len(asked)])


def test_a_crashed_driver_replays_the_journaled_batches_before_anything_else():
    """The batches of updates 2 and 3 were taken after checkpoint 2; the second one was perhaps never finished."""
    every = [TakenBatch(u, tuple(Key(3 * u + i, 0) for i in range(3))) for u in range(4)]
    replayed, ready = every[2:], Key(12, 0)
    run = scripted("runtime.max_staleness=1")
    record = run.checker
    record.learner = record.disk = 2
    record.wrote = {key: 2 for batch in replayed for key in batch.keys} | {ready: 3}
    record.graded = set(record.wrote)
    record.consumed = {batch.update: batch.keys for batch in every}
    run.run(run.scheduler_at(2, {"frontier": 6}, Past({ready: SimpleNamespace(version=3)}, replayed, [], [])))
    assert run.end.outcome is e.EndReason.DONE
    assert min(run.publishes) == 4  # nothing is served before the replay is done
    assert ready in record.consumed[4] + record.consumed[5]


def test_were_stale_skipped_it_would_be_noticed(monkeypatch):
    """A restarted engine that counts as HEALTHY and current before it has loaded anything gets work: the record objects."""

    def skip_stale(fleet, name):
        fleet.members[name].version = fleet.current
        fleet._become(name, Health.HEALTHY)

    crash = dataclasses.replace(SMALL, crash=(Crash("engine-0", 8.0),))
    scripted("runtime.engines=1", scenario=crash).run()
    monkeypatch.setattr(Fleet, "started", skip_stale)
    with pytest.raises(InvariantBroken, match=r"engine-0 serves -1 and was to write"):
        scripted("runtime.engines=1", scenario=crash).run()


def test_lock_step_at_staleness_zero():
    record = scripted("runtime.max_staleness=0").run().checker
    assert all(record.wrote[key] == update for update, keys in record.consumed.items() for key in keys)
    assert not record.dropped


def test_a_slow_engine_does_not_hold_the_others_up():
    """One engine ten times slower: its groups come too late, are dropped and sampled again; the run takes little longer."""
    sets = ("runtime.engines=4", "runtime.max_staleness=2", "train.updates=12", "rollout.prompts=4")
    slow = dataclasses.replace(SMALL, slow=(Slow("engine-0", 10.0),))
    assert scripted(*sets, scenario=slow).run().clock < 2 * scripted(*sets).run().clock


def test_a_version_rejected_once_is_loaded_again_and_twice_costs_the_process():
    def restarts(run):
        return sum(member.restarts for member in run.scheduler.engines.members.values())

    sets = ("runtime.engines=2", "runtime.max_staleness=0")  # no version is skipped
    once = scripted(*sets, reject={1: 1}).run()
    assert once.end.outcome is e.EndReason.DONE
    assert restarts(once) == 0
    assert {version: count for version, count in once.publishes.items() if count != 1} == {1: 2}  # made anew, that one only
    often = scripted(*sets, reject={1: 4}).run()
    assert often.end.outcome is e.EndReason.DONE
    assert restarts(often) >= 1


@pytest.mark.parametrize("name", ["engine-0", e.LEARNER])
def test_below_the_floor_the_run_ends_with_a_message(name):
    often = dataclasses.replace(SMALL, crash=tuple(Crash(name, t) for t in range(5, 500, 5)))
    sets = ("runtime.engines=1", "runtime.engine_floor=1", "runtime.restarts=2", "train.updates=50")
    end = scripted(*sets, scenario=often).run().end
    assert end.outcome is e.EndReason.FLOOR
    assert name in end.why and "restarted 2 times" in end.why


def test_a_silent_engine_is_declared_dead():
    scheduler = scripted("runtime.engines=2", "runtime.suspect_s=50", "runtime.dead_s=100").scheduler_at()
    scheduler.begin(0.0)
    scheduler.on(e.Published(0), 1.0)  # both engines load now, and say nothing
    assert not scheduler.on(e.Tick(), 60.0)
    actions = scheduler.on(e.Tick(), 102.0)
    assert [a.name for a in actions if isinstance(a, e.Restart)] == ["engine-0", "engine-1"]


def test_an_engine_that_died_with_nothing_to_sample_is_called_once_at_a_time():
    """Engine 2 is held back by admission, dies, comes back and loads; that admission opens meanwhile is not a second call."""
    sets = ("rollout.prompts=2", "train.updates=9", "runtime.max_staleness=1", "runtime.max_num_seqs=8")
    scheduler, called = scripted(*sets).scheduler_at(), []

    def tell(*events):
        called[:] = [a.engine for event in events for a in scheduler.on(event, 0.0) if isinstance(a, e.Load | e.Advance)]

    scheduler.begin(0.0)
    tell(e.Published(0))
    tell(*(e.Loaded(f"engine-{i}", 0) for i in range(3)))
    assert called == ["engine-0", "engine-1"] and list(scheduler.held) == ["engine-2"]
    tell(e.Died("engine-2", "killed"), e.Started("engine-2"))
    assert called == ["engine-2"]
    first = tuple(Key(i, 0) for i in range(2))
    tell(e.Advanced("engine-0", first), e.Graded("grader-0", first[0]), e.Graded("grader-1", first[1]), e.Updated(1))
    tell(e.Published(1))
    assert called == ["engine-0"]
