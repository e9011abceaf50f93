"""Fleet health: from DEAD to HEALTHY only through STALE and a load of the current version; caps and floor."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from actors.async_run.health import Fleet, Health, HealthLimits

LIMITS = HealthLimits(suspect_s=5, dead_s=20, restarts=2, floor=1)
NAMES = st.sampled_from(["a", "b"])


class Machine(RuleBasedStateMachine):
    """Any order of events; the test keeps its own idea of which process holds which weights."""

    def __init__(self):
        super().__init__()
        self.fleet, self.now = Fleet(["a", "b"], LIMITS), 0.0
        self.truth = {"a": -1, "b": -1}  # weights in the process
        self.spawned = {"a": 0, "b": 0}

    @rule(name=NAMES)
    def die(self, name):
        if self.fleet.members[name].health in (Health.DEAD, Health.RETIRED):
            return
        again = self.fleet.died(name)
        self.truth[name] = -1
        assert again == (self.spawned[name] < LIMITS.restarts)

    @rule(name=NAMES)
    def spawn(self, name):
        if self.fleet.members[name].health is Health.DEAD:
            self.fleet.restarting(name)
            self.spawned[name] += 1

    @rule(name=NAMES)
    def come_up(self, name):
        if self.fleet.members[name].health is Health.RESTARTING:
            self.fleet.started(name)

    @rule(name=NAMES, back=st.integers(0, 2))
    def load(self, name, back):
        """A load completes; an older version than the current one may arrive late. Nothing loads in a dead process."""
        version = max(0, self.fleet.current - back)
        if self.fleet.members[name].health in (Health.HEALTHY, Health.SUSPECT, Health.STALE):
            self.truth[name] = version
        self.fleet.loaded(name, version)

    @rule()
    def publish(self):
        self.fleet.publish(self.fleet.current + 1)

    @rule(name=NAMES, seconds=st.integers(0, 30))  # whole: a sum of floats does not come back to the difference
    def wait(self, name, seconds):
        self.fleet.asked(name, self.now)
        self.now += seconds
        dead = self.fleet.silent(self.now)
        up = self.fleet.members[name].health not in (Health.DEAD, Health.RESTARTING, Health.RETIRED)
        assert (name in dead) == (seconds >= LIMITS.dead_s and up)
        if LIMITS.suspect_s <= seconds < LIMITS.dead_s:
            assert name not in self.fleet.serving()
        self.fleet.answered(name)

    @invariant()
    def only_parts_with_weights_serve(self):
        for name in self.fleet.serving():
            assert self.truth[name] >= 0 and self.fleet.version(name) == self.truth[name]

    @invariant()
    def exactly_the_healthy_serve(self):
        healthy = {name for name, m in self.fleet.members.items() if m.health is Health.HEALTHY}
        assert set(self.fleet.serving()) == healthy == {name for name in "ab" if self.fleet.serves(name)}
        down = (Health.DEAD, Health.RESTARTING, Health.RETIRED)
        assert self.fleet.up() == sum(m.health not in down for m in self.fleet.members.values())

    @invariant()
    def the_floor_counts_parts_that_can_come_back(self):
        gone = sum(m.health is Health.RETIRED for m in self.fleet.members.values())
        assert self.fleet.below_floor() == (2 - gone < 1)


TestFleet = Machine.TestCase
TestFleet.settings = settings(deadline=None)


def test_an_engine_that_came_back_serves_nothing_before_the_current_version_is_loaded():
    fleet = Fleet(["a"], LIMITS)
    fleet.loaded("a", 0)
    assert fleet.serving() == ["a"]
    fleet.publish(1)
    assert fleet.serving() == ["a"] and fleet.behind("a")  # goes on with version 0 until 1 is loaded
    fleet.died("a")
    fleet.restarting("a")
    fleet.loaded("a", 1)  # an answer of the process that died
    fleet.started("a")
    assert not fleet.serving()
    fleet.loaded("a", 0)  # the version that was current when its load began
    assert not fleet.serving() and fleet.behind("a")
    fleet.loaded("a", 1)
    assert fleet.serving() == ["a"] and not fleet.behind("a")


@settings(deadline=None)
@given(st.floats(5, 19.9))
def test_a_suspect_part_gets_no_work_and_comes_back_by_answering(seconds):
    fleet = Fleet(["a"], LIMITS)
    fleet.loaded("a", 0)
    fleet.asked("a", 0.0)
    assert not fleet.silent(seconds) and not fleet.serving()
    fleet.answered("a")
    assert fleet.serving() == ["a"]
    fleet.asked("a", 0.0)
    assert fleet.silent(20.0) == ["a"]
