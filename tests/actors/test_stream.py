"""The asynchronous driver's decisions in a small scripted world: whatever dies whenever, every group counts once."""

import heapq
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.async_run import messages as e
from actors.async_run.group_ledger import Ledger
from actors.async_run.health import Fleet, Health, HealthLimits
from actors.async_run.scheduler import Pace, Stream
from vgrout.group_records import Key, TakenBatch
from vgrout.seeds import rng

LIMITS = HealthLimits(suspect_s=50, dead_s=100, restarts=99, floor=1)


class World:
    """Fake parts under a virtual clock. It checks at every action what must hold, from its own books."""

    def __init__(self, *, seed=0, engines=2, staleness=1, updates=6, prompts=3, deaths=(), stop_at=None, slow=(), reject=()):
        self.random, self.now, self.queue, self.count = rng(seed, "world"), 0.0, [], 0
        self.pace = Pace(prompts, updates, staleness, checkpoint_every=2, engine_groups=4)
        names = [f"engine-{i}" for i in range(engines)]
        self.engines = Fleet(names, LIMITS, current=-1)
        graders, learner = Fleet(["grader-0", "grader-1"], LIMITS), Fleet([e.LEARNER], LIMITS)
        self.stream = Stream(self.pace, self.engines, graders, learner, Ledger())
        self.slow, self.reject = set(slow), Counter(reject)
        self.serves, self.holds = dict.fromkeys(names, -1), {name: {} for name in names}
        self.wrote, self.graded, self.consumed, self.dropped = {}, set(), {}, []
        self.learner_version, self.disk, self.outcome = 0, 0, None
        self.under_way = set()  # engines and graders that owe an answer
        self.life = Counter()  # incarnation by part: what a dead process still had to say is never heard
        self.fresh_from = {name: 0 for name in names}
        self.publishes = Counter()
        for when, name in deaths:
            self.later(when, e.Died(name, "killed"), None)
        if stop_at is not None:
            self.later(stop_at, e.StopAsked(2), None)

    def later(self, seconds, event, name):
        self.count += 1
        heapq.heappush(self.queue, (self.now + seconds, self.count, event, name, self.life[name]))

    def run(self):
        self.act(self.stream.begin(self.now))
        while self.outcome is None:
            assert self.queue, "deadlock"
            assert self.count < 20_000, "livelock"
            self.now, _, event, name, life = heapq.heappop(self.queue)
            if name is not None and life != self.life[name]:
                continue
            if isinstance(event, e.Died):
                if self.stream.fleets[event.name].members[event.name].health in ("dead", "restarting", "retired"):
                    continue
                self.life[event.name] += 1
                self.under_way.discard(event.name)
                if event.name in self.serves:
                    self.serves[event.name], self.holds[event.name] = -1, {}
            self.under_way.discard(name)
            self.act(self.stream.on(event, self.now))
        return self

    def act(self, actions):
        for action in actions:
            if name := getattr(action, "engine", getattr(action, "grader", None)):
                assert name not in self.under_way, "called while it owes an answer"
                self.under_way.add(name)
            getattr(self, type(action).__name__.lower())(action)

    def advance(self, a):
        assert self.serves[a.engine] == a.version >= self.fresh_from[a.engine], "an engine was given work without the version"
        for key in a.groups:
            assert key not in self.wrote
            self.wrote[key] = a.version
            self.holds[a.engine][key] = self.now + self.random.expovariate(1 / 5) * (10 if a.engine in self.slow else 1)
        held = self.holds[a.engine]
        until = min(self.now + 1, *held.values()) if held else self.now + 1
        done = tuple(k for k, t in held.items() if t <= until)
        for key in done:
            del held[key]
        self.later(max(0.01, until - self.now), e.Advanced(a.engine, done), a.engine)

    def load(self, a):
        assert a.version in self.publishes
        if self.reject[a.version] > 0:
            self.reject[a.version] -= 1
            return self.later(0.3, e.Rejected(a.engine, a.version, "canary"), a.engine)
        self.serves[a.engine] = self.fresh_from[a.engine] = a.version
        self.later(0.3, e.Loaded(a.engine, a.version), a.engine)

    def grade(self, a):
        assert a.key in self.wrote
        self.graded.add(a.key)
        self.later(self.random.random(), e.Graded(a.grader, a.key), a.grader)

    def update(self, a):
        assert a.update == self.learner_version, "an update was skipped or done twice"
        assert len(a.keys) == self.pace.prompts and set(a.keys) <= self.graded
        assert all(0 <= a.update - self.wrote[k] <= self.pace.max_staleness for k in a.keys)
        if a.replay:
            assert self.consumed[a.update] == a.keys
        else:
            assert a.update not in self.consumed
            self.consumed[a.update] = a.keys
        self.learner_version += 1
        self.later(2.0, e.Updated(self.learner_version), e.LEARNER)

    def publish(self, a):
        assert a.version == self.learner_version
        self.publishes[a.version] += 1
        self.later(0.1, e.Published(a.version), e.LEARNER)

    def checkpoint(self, a):
        assert a.version == self.learner_version
        settled = {k.ordinal for keys in self.consumed.values() for k in keys} | {d.ordinal for d in self.dropped if d.final}
        assert settled == set(range(a.frontier)) | set(a.ahead)
        self.later(1.0, e.Checkpointed(a.version), e.LEARNER)

    def forget(self, a):
        self.disk = self.stream.checkpoint

    def restart(self, a):
        self.later(3.0, e.Started(a.name), a.name)

    def restore(self, a):
        assert a.version == self.disk
        self.learner_version = a.version
        self.later(0.5, e.Restored(a.version), e.LEARNER)

    def drop(self, a):
        self.dropped.append(a.dropped)

    def end(self, a):
        self.outcome = a.outcome


def books_are_whole(world):
    """Every ordinal that was ever admitted is consumed by one update, or dropped with a reason; none is both."""
    consumed = Counter(k.ordinal for keys in world.consumed.values() for k in keys)
    final = Counter(d.ordinal for d in world.dropped if d.final)
    assert set(consumed.values()) <= {1} and not consumed.keys() & final.keys()
    assert consumed.keys() | final.keys() == {k.ordinal for k in world.wrote}


PARTS = ["engine-0", "engine-1", "grader-0", "grader-1", e.LEARNER]


DEATHS = st.lists(st.tuples(st.floats(0, 60), st.sampled_from(PARTS)), max_size=6)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6), st.integers(0, 4), DEATHS)
def test_a_run_ends_with_every_group_counted_once_whoever_dies_whenever(seed, engines, staleness, deaths):
    world = World(seed=seed, engines=engines, staleness=staleness, deaths=deaths).run()
    assert world.outcome is e.EndReason.DONE and sorted(world.consumed) == list(range(6)) and world.disk == 6
    books_are_whole(world)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 40), st.lists(st.tuples(st.floats(0, 40), st.sampled_from(PARTS)), max_size=2))
def test_a_stopped_run_goes_on_from_its_checkpoint_without_losing_or_repeating_a_group(seed, stop_at, deaths):
    first = World(seed=seed, stop_at=stop_at, deaths=deaths).run()
    done = len(first.consumed)
    if first.outcome is e.EndReason.DONE:
        return
    assert first.outcome is e.EndReason.STOPPED and first.disk == done
    second = World(seed=seed + 1)
    old = Ledger(first.stream.ledger.frontier, first.stream.ledger.ahead)
    second.stream.ledger = Ledger(old.frontier, old.ahead)
    second.stream.version = second.stream.checkpoint = second.learner_version = second.disk = done
    second.consumed, second.wrote, second.dropped = dict(first.consumed), {}, list(first.dropped)
    second.run()
    assert second.outcome is e.EndReason.DONE and sorted(second.consumed) == list(range(6))
    consumed = [k.ordinal for keys in second.consumed.values() for k in keys]
    assert len(consumed) == len(set(consumed))
    # What the stop interrupted is sampled again, before anything that comes later in the order.
    asked = {k.ordinal for k in second.wrote}
    assert asked == set([o for o in range(99) if not old.settled(o)][: len(asked)])


def test_a_crashed_driver_replays_the_journaled_batches_before_anything_else():
    """The batches of updates 2 and 3 were taken after checkpoint 2; the second one was perhaps never finished."""
    world = World()
    every = [TakenBatch(u, tuple(Key(3 * u + i, 0) for i in range(3))) for u in range(4)]
    batches = every[2:]
    ledger = Ledger(frontier=6)
    ledger.settle(k.ordinal for b in batches for k in b.keys)
    ledger.adopt(12, 0, version=3)
    world.stream = Stream(world.pace, world.engines, *[world.stream.fleets[n] for n in ("grader-0", e.LEARNER)], ledger,
                          checkpoint=2, replay=batches)  # fmt: skip
    world.learner_version = world.disk = 2
    keys = [*(k for b in batches for k in b.keys), Key(12, 0)]
    world.wrote |= dict.fromkeys(keys, 2) | {Key(12, 0): 3}
    world.graded |= set(keys)
    world.consumed = {b.update: b.keys for b in every}
    world.run()
    assert world.outcome is e.EndReason.DONE and min(world.publishes) == 4  # nothing is served before the replay is done
    assert Key(12, 0) in world.consumed[4] or Key(12, 0) in world.consumed[5]


def test_were_stale_skipped_the_world_would_notice(monkeypatch):
    """A restarted engine that counts as HEALTHY and current before it has loaded anything gets work: World.advance objects."""

    def skip_stale(fleet, name):
        fleet.members[name].version = fleet.current
        fleet._become(name, Health.HEALTHY)

    books_are_whole(World(engines=1, deaths=[(8.0, "engine-0")]).run())
    monkeypatch.setattr(Fleet, "started", skip_stale)
    with pytest.raises(AssertionError, match="an engine was given work without the version"):
        World(engines=1, deaths=[(8.0, "engine-0")]).run()


def test_lock_step_at_staleness_zero():
    world = World(staleness=0).run()
    assert all(world.wrote[k] == update for update, keys in world.consumed.items() for k in keys)
    assert not world.dropped


def test_a_slow_engine_does_not_hold_the_others_up():
    """One engine ten times slower: its groups come too late, are dropped and sampled again; the run takes little longer."""
    even = World(engines=4, staleness=2, updates=12, prompts=4).run()
    uneven = World(engines=4, staleness=2, updates=12, prompts=4, slow=["engine-0"]).run()
    assert uneven.now < 2 * even.now
    books_are_whole(uneven)


def test_a_version_rejected_once_is_loaded_again_and_twice_costs_the_process():
    once = World(reject={1: 1}).run()
    assert once.outcome is e.EndReason.DONE and not sum(m.restarts for m in once.engines.members.values())
    assert once.publishes[1] == 2 and max(n for v, n in once.publishes.items() if v != 1) == 1  # made anew, that one only
    often = World(reject={1: 4}).run()
    assert often.outcome is e.EndReason.DONE and sum(m.restarts for m in often.engines.members.values()) >= 1


@pytest.mark.parametrize("name", ["engine-0", e.LEARNER])
def test_below_the_floor_the_run_ends_with_a_message(name):
    world = World(engines=1, deaths=[(t, name) for t in range(5, 500, 5)])
    world.stream.fleets[name].limits = HealthLimits(50, 100, restarts=2, floor=1)
    world.run()
    assert world.outcome is e.EndReason.FLOOR and name in world.stream.ended.why and "restarted 2 times" in world.stream.ended.why


def test_a_silent_engine_is_declared_dead():
    world = World()
    world.act(world.stream.begin(0.0))
    world.act(world.stream.on(e.Published(0), 1.0))  # both engines load now, and say nothing
    assert not world.stream.on(e.Tick(), 60.0)
    actions = world.stream.on(e.Tick(), 102.0)
    assert [a.name for a in actions if isinstance(a, e.Restart)] == ["engine-0", "engine-1"]


def test_an_engine_that_died_with_nothing_to_sample_is_called_once_at_a_time():
    """Engine 2 is held back by admission, dies, comes back and loads; that admission opens meanwhile is not a second call."""
    world = World(engines=3, prompts=2, updates=9)
    stream, called = world.stream, []

    def tell(*events):
        called[:] = [a.engine for event in events for a in stream.on(event, 0.0) if isinstance(a, e.Load | e.Advance)]

    stream.begin(0.0)
    tell(e.Published(0))
    tell(*(e.Loaded(f"engine-{i}", 0) for i in range(3)))
    assert called == ["engine-0", "engine-1"] and list(stream.held) == ["engine-2"]
    tell(e.Died("engine-2", "killed"), e.Started("engine-2"))
    assert called == ["engine-2"]
    first = tuple(Key(i, 0) for i in range(2))
    tell(e.Advanced("engine-0", first), e.Graded("grader-0", first[0]), e.Graded("grader-1", first[1]), e.Updated(1))
    tell(e.Published(1))
    assert called == ["engine-0"]
