"""The simulator: exact where it can be computed by hand, the same twice, and every end of it with every invariant kept."""

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import SMALL, point, scripted

from actors.async_run import messages as e
from actors.async_run.group_ledger import Ledger
from actors.planning.model_shape import shape_of
from actors.simulation.engine import SimulatedEngine
from actors.simulation.invariants import InvariantBroken, InvariantChecker
from actors.simulation.run import simulate
from actors.simulation.scenario import Crash, Lengths, Partition, Slow, read
from vgrout.group_records import Dropped, Key, Reason


def test_in_lock_step_the_time_of_a_run_is_the_sum_of_its_parts():
    """max_staleness 0, all completions equally long: everything waits for everything, and the clock can be computed by hand."""
    scenario = dataclasses.replace(SMALL, lengths=Lengths(median=40))
    result = simulate(scenario, point(scenario, "runtime.max_staleness=0", "runtime.engines=1", "runtime.graders=2"))
    generate = 40 * (0.010 + 0.001 * 3 * 2)  # 40 steps with 3 x 2 sequences
    grade = 2 * 2 * 0.1  # 3 groups of 2 programs on 2 graders: two rounds
    publish_and_load, checkpoints = 0.25 + 0.5, 3 * 0.5  # checkpoints of versions 3, 6 and 8
    assert result.seconds == pytest.approx(8 * (publish_and_load + generate + grade + 2.0) + checkpoints)
    assert result.learner["update"] == pytest.approx(8 * 2.0 / result.seconds)
    assert result.engines["decode"] == pytest.approx(8 * generate / result.seconds)
    assert result.ages == {0: 24} and not result.dropped


@pytest.mark.parametrize("slice_s", [0.05, 0.2, 1.0, 60.0])
def test_how_time_is_sliced_does_not_change_what_an_engine_does(slice_s):
    """Two groups that begin together; the second one ends at step 30, of which 20 are made by 2 + 1 sequences and 10 by 1."""
    engine, clock, ends = SimulatedEngine(0.01, 0.001, max_staleness=0), 0.0, {}
    engine.load(0)
    engine.admit(Key(0, 0), [10, 20])
    engine.admit(Key(1, 0), [30])
    while len(ends) < 2:
        seconds, whole, _ = engine.advance(slice_s)
        clock += seconds
        ends |= dict.fromkeys(whole, clock)
    assert ends[Key(0, 0)] == pytest.approx(10 * 0.013 + 10 * 0.012)
    assert ends[Key(1, 0)] == pytest.approx(10 * 0.013 + 10 * 0.012 + 10 * 0.011)


def test_an_engine_gives_up_what_no_update_can_take_any_more():
    engine = SimulatedEngine(0.01, 0.0, max_staleness=1)
    engine.load(0)
    engine.admit(Key(0, 0), [1000, 1000])
    engine.load(1)
    engine.admit(Key(1, 0), [5])
    engine.load(2)
    seconds, whole, aborted = engine.advance(60.0)
    assert whole == (Key(1, 0),)
    assert aborted == (Key(0, 0),)
    assert seconds == pytest.approx(0.05)


def test_the_learner_publishes_once_per_version_however_many_engines_there_are():
    scenario, points = read(Path("configs/simulate/cluster-size.toml"), sets=["train.updates=6"])
    results = [simulate(scenario, p) for p in points]
    assert [result.engine_count for result in results] == [1, 8, 64, 512]
    config = points[0].config
    # Qwen3-4B, rank 32: the train export has rank 4 x 32, the deploy export 2 x 32, in float32.
    size = (4 * 32 + 2 * 32) * shape_of(config.model.path).lora_per_rank(config.lora.targets) * 2  # bfloat16
    for result in results:
        assert result.publishes_per_version == 1 and result.learner_bytes_per_version == size
        assert result.learner["publish"] * result.seconds == pytest.approx(6 * scenario.learner.publish_s)
        assert result.loads_per_version <= result.engine_count
    assert results[-1].loads_per_version > 256  # it is the engines that pull


@pytest.mark.parametrize("seed", range(3))
def test_a_straggler_does_not_starve_the_learner_at_staleness_4(seed):
    """Eight engines, of which one is ten times slower: they decode 58% of the time and load 29%, so there is little to spare."""
    scenario, points = read(Path("configs/simulate/straggler.toml"), seed=seed)
    assert scenario.slow == (Slow("engine-0", 10.0),)
    result = simulate(scenario, next(p for p in points if p.config.runtime.max_staleness == 4))
    assert result.learner["idle"] <= 0.10 and result.engines["idle"] < 0.2
    assert max(result.ages) <= 4


def test_a_machine_that_is_ten_times_slower_is_felt_where_there_is_no_other():
    """The other way round: the straggler's factor does reach the clock."""
    sets = ("runtime.engines=1", "runtime.max_staleness=0")
    even = dataclasses.replace(SMALL, lengths=Lengths(median=40))
    slow = dataclasses.replace(even, slow=(Slow("engine-0", 10.0),))
    fast, slowed = simulate(even, point(even, *sets)), simulate(slow, point(slow, *sets))
    assert slowed.seconds - fast.seconds == pytest.approx(9 * (fast.engines["decode"] + fast.engines["load"]) * fast.seconds)


PARTS = st.sampled_from(["engine-0", "engine-1", "engine-2", "grader-0", "grader-1", "learner"])
CRASHES = st.lists(st.builds(Crash, PARTS, st.floats(0, 40)), max_size=4)
PARTITIONS = st.lists(st.builds(Partition, PARTS, st.floats(0, 40), st.floats(0.1, 30)), max_size=4)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 6), st.integers(0, 4), CRASHES, PARTITIONS)
def test_whatever_crashes_or_goes_silent_every_group_counts_once(seed, engines, staleness, crashes, partitions):
    scenario = dataclasses.replace(SMALL, seed=seed, crash=tuple(crashes), partition=tuple(partitions))
    run = scripted(f"runtime.max_staleness={staleness}", f"runtime.engines={engines}", scenario=scenario).run()
    assert run.end.outcome is e.EndReason.DONE
    assert sorted(run.checker.consumed) == list(range(8))
    assert run.checker.disk == 8


def test_a_part_that_is_silent_for_long_is_replaced_and_for_a_while_is_waited_for():
    for seconds, deaths in ((5.0, {}), (60.0, {"engine": 1})):
        scenario = dataclasses.replace(SMALL, partition=(Partition("engine-1", 0.8, seconds),))
        result = simulate(scenario, point(scenario, "train.updates=20"))
        assert result.deaths == deaths and result.outcome == "done"
        assert bool(result.dropped.get("engine_lost")) == bool(deaths)


def test_below_the_floor_the_simulation_says_so_and_its_invariants_hold():
    scenario = dataclasses.replace(SMALL, engine=dataclasses.replace(SMALL.engine, mtbf_s=8.0))
    result = simulate(scenario, point(scenario, "runtime.restarts=1", "runtime.engine_floor=3", "train.updates=50"))
    assert result.outcome == "floor"
    assert "restarted 1 times" in result.why
    assert 0 < result.updates < 50


def test_the_same_scenario_and_seed_give_the_same_simulation():
    scenario = dataclasses.replace(SMALL, engine=dataclasses.replace(SMALL.engine, mtbf_s=30.0))
    first, second = (simulate(scenario, point(scenario)) for _ in range(2))
    other = dataclasses.replace(scenario, seed=1)
    assert first == second != simulate(other, point(other))


def test_a_driver_that_consumes_what_is_too_old_is_caught(monkeypatch):
    engine = dataclasses.replace(SMALL.engine, step_ms=200.0)
    scenario = dataclasses.replace(SMALL, engine=engine, lengths=Lengths(median=20, sigma=1.2))
    at = point(scenario, "train.updates=20")
    assert simulate(scenario, at).dropped["over_age"] > 0
    monkeypatch.setattr("actors.async_run.group_ledger.young", lambda **_: True)
    monkeypatch.setattr(SimulatedEngine, "_retire", lambda self: None)
    with pytest.raises(InvariantBroken, match="consumes ages"):
        simulate(scenario, at)


def test_a_record_that_does_not_add_up_is_refused():
    keys = tuple(Key(i, 0) for i in range(3))

    def record() -> InvariantChecker:
        found = InvariantChecker(prompts=3, max_staleness=1)
        for key in keys:
            found.admit(key, 0)
            found.grade(key)
        found.update(0, keys, False)
        return found

    with pytest.raises(InvariantBroken, match="given out twice"):
        record().admit(keys[0], 0)
    with pytest.raises(InvariantBroken, match="version 0"):
        record().checkpoint(1, 3, ())
    with pytest.raises(InvariantBroken, match="settled ordinals"):
        record().checkpoint(0, 2, ())
    twice = record()
    twice.updated(1)
    twice.update(1, keys, False)
    with pytest.raises(InvariantBroken, match="consumed twice"):
        twice.close(e.EndReason.DONE, Ledger(frontier=3))
    both = record()
    both.drop(Dropped(1, 0, Reason.OVER_AGE, final=True))
    with pytest.raises(InvariantBroken, match="consumed and dropped"):
        both.close(e.EndReason.DONE, Ledger(frontier=3))
    left = record()
    left.admit(Key(3, 0), 0)
    left.close(e.EndReason.FLOOR, Ledger(frontier=3))
    with pytest.raises(InvariantBroken, match=r"neither consumed nor dropped: \[3\]"):
        left.close(e.EndReason.DONE, Ledger(frontier=3))
