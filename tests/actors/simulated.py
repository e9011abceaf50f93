"""The small simulated run that the tests of the scheduler and of the simulator share."""

from collections import Counter
from pathlib import Path

from actors.async_run import messages as e
from actors.async_run.loop import drive, new_scheduler
from actors.async_run.scheduler import Scheduler
from actors.journal.journal import Past
from actors.simulation.cluster import Activity, Simulation
from actors.simulation.scenario import EngineTimes, GraderTimes, LearnerTimes, Lengths, Point, Scenario
from vgrout.config import load
from vgrout.group_records import Key

SMALL = Scenario(
    config="tiny.toml",
    engine=EngineTimes(step_ms=10.0, sequence_ms=1.0, load_s=0.5, start_s=3.0),
    lengths=Lengths(median=40, sigma=0.5),
    learner=LearnerTimes(update_s=2.0, publish_s=0.25, checkpoint_s=0.5, start_s=4.0, restore_s=1.0),
    grader=GraderTimes(program_s=0.1),
    set=("rollout.prompts=3", "rollout.samples=2", "runtime.engines=3", "train.updates=8", "train.checkpoint_every=3",
         "runtime.suspect_s=4", "runtime.dead_s=10", "runtime.restarts=99"),
)  # fmt: skip
NOTHING = Past({}, [], [], [])


def point(scenario: Scenario, *sets: str) -> Point:
    """One simulation of the scenario, with changes of its configuration."""
    given = ["runtime.mode=async", *scenario.set, *sets]
    return Point(load(Path("configs") / scenario.config, arm="routev", seed=scenario.seed, sets=given), {})


class Scripted(Simulation):
    """A simulation with what no scenario says: when the user stops it, and which versions engines reject how often.

    It checks what the driver hears: after a part was replaced only its new process, and only about what that one was given.
    """

    def __init__(self, scenario: Scenario, at: Point, *, stop_at: float | None = None, reject: dict[int, int] | None = None):
        super().__init__(scenario, at)
        self.reject = Counter(reject)
        self.starting: set[str] = set()
        self.given: dict[str, set[Key]] = {name: set() for name in self.engine_names}
        self.died: set[str] = set()
        if stop_at is not None:
            self._at(stop_at, e.StopAsked(2))

    def scheduler_at(self, checkpoint: int = 0, state: dict | None = None, past: Past = NOTHING) -> Scheduler:
        """The scheduler of this simulation, as a run begins or goes on with it."""
        return new_scheduler(self.config, self.engine_names, self.grader_names, checkpoint, state or {}, past)

    def run(self, scheduler: Scheduler | None = None) -> "Scripted":
        """Run to the end, and check the record of all groups there."""
        self.scheduler = scheduler or self.scheduler_at()
        self.end = drive(self.scheduler, self)
        self.checker.close(self.end.outcome, self.scheduler.ledger)
        return self

    def do(self, action: e.Action) -> None:
        match action:
            case e.Restart(name):
                self.starting.add(name)
                self.died.discard(name)
                self.given[name] = set()
            case e.Advance(name, groups):
                self.given[name].update(groups)
            case e.Load(name, version) if self.reject[version] > 0:
                self.reject[version] -= 1
                return self._call(name, e.Rejected(name, version, "canary"), Activity.LOAD, self.scenario.engine.load_s)
        super().do(action)

    def wait(self) -> list[e.Event]:
        found = super().wait()
        for event in found:
            match event:
                case e.Started(name):
                    assert name in self.starting
                    self.starting.remove(name)
                case e.Died(name):
                    assert name not in self.died
                    self.died.add(name)
                    self.starting.discard(name)
                case e.Advanced(name, finished, aborted):
                    assert name not in self.starting | self.died
                    assert self.given[name].issuperset([*finished, *aborted])
                case e.Loaded(name) | e.Graded(name):
                    assert name not in self.starting | self.died
                case e.Updated() | e.Published() | e.Checkpointed():
                    assert e.LEARNER not in self.starting | self.died
        return found

    def _happens(self, what):
        return [what] if isinstance(what, e.StopAsked) else super()._happens(what)


def scripted(*sets: str, scenario: Scenario = SMALL, **script) -> Scripted:
    """A scripted simulation that has not begun."""
    return Scripted(scenario, point(scenario, *sets), **script)
