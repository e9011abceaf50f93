"""The simulated cluster: parts that take time, crash and stop answering, for the real scheduler under a virtual clock.

Invariants: a process answers its calls one after the other. Answers of a replaced process are never delivered. A process that
crashes between calls is found dead at the next call, as under Ray. The same scenario and seed give the same simulation. The
ledger is compared with an independent record (invariants.py) all the time and at the end.
"""

import heapq
import itertools
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from enum import StrEnum

from actors.async_run import messages as e
from actors.simulation.engine import SimulatedEngine
from actors.simulation.invariants import InvariantChecker, need
from actors.simulation.scenario import Crash, Partition, Point, Scenario
from actors.simulation.workload import Work
from vgrout.group_records import Key
from vgrout.seeds import rng

PATIENCE_S = 86_400.0  # virtual time without an update after which a simulation is given up


class Stuck(RuntimeError):
    """No update ends any more."""


class Activity(StrEnum):
    """What a part spends its time on."""

    DECODE = "decode"
    LOAD = "load"
    GRADE = "grade"
    UPDATE = "update"
    REDO = "redo"  # an update that is repeated after the learner died
    PUBLISH = "publish"
    CHECKPOINT = "checkpoint"
    DOWN = "down"  # dead, starting, restoring


@dataclass
class Process:
    """The process of a part. `life`: which restart it is. `free`: when its calls are done. `silent`: until when it gives no
    answer. `gone`: it died, and has not been called since."""

    factor: float = 1.0
    life: int = 0
    owes: int = 0
    free: float = 0.0
    silent: float = 0.0
    gone: bool = False
    down_since: float | None = None
    spent: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))


@dataclass(frozen=True)
class Answer:
    """An event that a process will deliver, unless it is replaced before; the work took `seconds`."""

    name: str
    life: int
    event: e.Event
    activity: Activity
    seconds: float = 0.0


Happening = e.Tick | Crash | Partition | Answer


class Simulation:
    """An Executor (async_run/loop.py) that simulates one point of a scenario."""

    def __init__(self, scenario: Scenario, point: Point) -> None:
        self.scenario, self.config, self.clock = scenario, point.config, 0.0
        self.engine_names = [f"engine-{i}" for i in range(self.config.runtime.engines)]
        self.grader_names = [f"grader-{i}" for i in range(point.graders(scenario))]
        self.parts = {name: Process() for name in (e.LEARNER, *self.engine_names, *self.grader_names)}
        for slow in scenario.slow:
            self.parts[slow.part].factor = slow.factor
        self.engines = {name: self._new_engine(name) for name in self.engine_names}
        self.checker = InvariantChecker(self.config.rollout.prompts, self.config.runtime.max_staleness)
        self.publishes: Counter[int] = Counter()
        self.loads: Counter[int] = Counter()
        self.ages: Counter[int] = Counter()
        self.deaths: Counter[str] = Counter()
        self.work = Work(scenario, point.config)
        self.driver_s, self.heard, self.last_update = 0.0, 0, 0.0
        self._queue: list[tuple[float, int, Happening]] = []
        self._number = itertools.count()
        self._at(1.0, e.Tick())
        for fault in (*scenario.crash, *scenario.partition):
            self._at(fault.at_s, fault)
        for name in self.engine_names:
            self._crash_some_day(name)

    def now(self) -> float:
        """Virtual seconds."""
        return self.clock

    def wait(self) -> list[e.Event]:
        """Move the clock to the next event; returns all events by then."""
        found: list[e.Event] = []
        while not found:
            self.clock = max(self.clock, self._queue[0][0])
            while self._queue and self._queue[0][0] <= self.clock:
                found += self._happens(heapq.heappop(self._queue)[2])
        self.heard += len(found)
        return found

    def do(self, action: e.Action) -> None:
        """Start an action."""
        learner = self.scenario.learner
        match action:
            case e.Advance(name, groups, version):
                self._advance(name, groups, version)
            case e.Load(name, version):
                need(version in self.publishes, f"{name} is to load {version}, which was never published")
                self._call(name, e.Loaded(name, version), Activity.LOAD, self.scenario.engine.load_s)
            case e.Grade(name, key):
                self.checker.grade(key)
                self._call(name, e.Graded(name, key), Activity.GRADE, self.work.grading_s(key.ordinal))
            case e.Update(update, keys, replay):
                self.checker.update(update, keys, replay)
                if not replay:
                    self.ages.update(update - self.checker.wrote[key] for key in keys)
                activity = Activity.REDO if replay else Activity.UPDATE
                self._call(e.LEARNER, e.Updated(update + 1), activity, self.work.update_s(keys))
            case e.Publish(version):
                need(version == self.checker.learner, f"published {version} of a learner of version {self.checker.learner}")
                self.publishes[version] += 1
                self._call(e.LEARNER, e.Published(version), Activity.PUBLISH, learner.publish_s)
            case e.Checkpoint(version, frontier, ahead):
                self.checker.checkpoint(version, frontier, ahead)
                self._call(e.LEARNER, e.Checkpointed(version), Activity.CHECKPOINT, learner.checkpoint_s)
            case e.Restart(name):
                self._replace(name)
                self._call(name, e.Started(name), Activity.DOWN, self.work.start_s(name))
            case e.Retire(name):
                self._replace(name)
            case e.Restore(version):
                self.checker.restore(version)
                self._call(e.LEARNER, e.Restored(version), Activity.DOWN, learner.restore_s)
            case e.Drop(dropped):
                self.checker.drop(dropped)
            case e.Forget() | e.End():
                pass

    def _at(self, when: float, what: Happening) -> None:
        heapq.heappush(self._queue, (when, next(self._number), what))

    def _call(self, name: str, event: e.Event, activity: Activity, seconds: float) -> None:
        """A call starts when the process has finished its earlier calls and can be reached."""
        process = self.parts[name]
        self.driver_s += self.scenario.driver_ms / 1000
        self.clock += self.scenario.driver_ms / 1000
        process.owes += 1
        need(process.owes == 1 or name == e.LEARNER, f"{name} was called while it owed an answer")
        if process.gone:
            self._at(max(self.clock, process.silent), Answer(name, process.life, e.Died(name, "was dead"), Activity.DOWN))
            return
        seconds *= process.factor
        process.free = max(self.clock, process.free, process.silent) + seconds
        self._at(process.free, Answer(name, process.life, event, activity, seconds))

    def _advance(self, name: str, groups: tuple[Key, ...], version: int) -> None:
        engine = self.engines[name]
        need(engine.version == version, f"{name} serves {engine.version} and was to write {version}")
        for key in groups:
            self.checker.admit(key, version)
            engine.admit(key, self.work.lengths(key.ordinal))
        factor = self.parts[name].factor
        seconds, whole, aborted = engine.advance(self.config.runtime.slice_s / factor)  # the driver's clock measures the slice
        self._call(name, e.Advanced(name, whole, aborted), Activity.DECODE, seconds)

    def _happens(self, what: Happening) -> list[e.Event]:
        match what:
            case e.Tick():
                self._at(self.clock + 1, what)
                if self.clock - self.last_update > PATIENCE_S:
                    raise Stuck(
                        f"no update in {PATIENCE_S / 3600:g} virtual hours; {len(self.checker.consumed)} were done before"
                    )
                return [what]
            case Crash(name):
                return self._crashed(name)
            case Partition(name, _, seconds):
                self.parts[name].silent = max(self.parts[name].silent, self.clock + seconds)
            case Answer():
                return self._answered(what)
        return []

    def _crashed(self, name: str) -> list[e.Event]:
        process = self.parts[name]
        owed, process.life, process.owes = process.owes, process.life + 1, 0
        process.gone, process.free = True, self.clock
        self._down(process)
        if owed:
            process.owes = 1
            self._at(max(self.clock, process.silent), Answer(name, process.life, e.Died(name, "crashed"), Activity.DOWN))
        return []

    def _answered(self, answer: Answer) -> list[e.Event]:
        process = self.parts[answer.name]
        if answer.life != process.life:
            return []
        if process.silent > self.clock:
            self._at(process.silent, answer)
            return []
        process.owes -= 1
        if answer.activity is not Activity.DOWN:
            process.spent[answer.activity] += answer.seconds
        match answer.event:
            case e.Loaded(name, version):
                self.engines[name].load(version)
                self.loads[version] += 1
            case e.Updated(version):
                self.checker.updated(version)
                self.last_update = self.clock
            case e.Checkpointed(version):
                self.checker.disk = version
            case e.Started(name) if name != e.LEARNER:
                self._up(process)
                self._crash_some_day(name)
            case e.Restored():
                self._up(process)
        return [answer.event]

    def _replace(self, name: str) -> None:
        """End the process, whatever it is doing. Its successor can be reached."""
        old = self.parts[name]
        self.deaths[name.split("-")[0]] += 1
        self._down(old)
        old.life, old.owes, old.gone, old.silent, old.free = old.life + 1, 0, False, 0.0, self.clock
        if name in self.engines:
            self.engines[name] = self._new_engine(name)

    def _down(self, process: Process) -> None:
        process.down_since = self.clock if process.down_since is None else process.down_since

    def _up(self, process: Process) -> None:
        if process.down_since is not None:
            process.spent[Activity.DOWN] += self.clock - process.down_since
            process.down_since = None

    def _crash_some_day(self, name: str) -> None:
        mean, life = self.scenario.engine.mtbf_s, self.parts[name].life
        if mean and name in self.engines:
            self._at(self.clock + rng(self.scenario.seed, "crash", name, life).expovariate(1 / mean), Crash(name, 0.0))

    def _new_engine(self, name: str) -> SimulatedEngine:
        times = self.scenario.engine
        return SimulatedEngine(times.step_ms / 1000, times.sequence_ms / 1000, self.config.runtime.max_staleness)
