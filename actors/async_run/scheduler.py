"""The decisions of the asynchronous driver: events in, actions out. No Ray, no files, and no clock of its own.

Real workers (ray_executor.py) and the simulator run this same code. Invariants:
- One call per engine and grader is under way at a time, so a death is always noticed.
- A batch is taken, and written to the journal, before the learner gets it.
- After the learner died it goes back to the last checkpoint and repeats the batches taken since, in their order.
- An engine gets work only while it is HEALTHY.
- At the start, the restored version is published before any rollout is awaited.
"""

import itertools
import math
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from actors.async_run.group_ledger import Ledger, Stage
from actors.async_run.health import Fleet
from actors.async_run.messages import (
    LEARNER,
    Action,
    Advance,
    Advanced,
    Checkpoint,
    Checkpointed,
    Died,
    Drop,
    End,
    EndReason,
    Event,
    Forget,
    Grade,
    Graded,
    Load,
    Loaded,
    Publish,
    Published,
    Rejected,
    Restart,
    Restore,
    Restored,
    Retire,
    Started,
    StopAsked,
    Tick,
    Update,
    Updated,
)
from actors.async_run.staleness import room
from actors.async_run.wait_metrics import WaitMetrics
from vgrout.group_records import Dropped, Key, Reason, TakenBatch
from vgrout.rows import Row


@dataclass(frozen=True)
class Pace:
    """The limits that the scheduler keeps: groups per update, updates of the run, staleness, checkpoint interval, groups on an
    engine."""

    prompts: int
    updates: int
    max_staleness: int
    checkpoint_every: int
    engine_groups: int


class Learning(StrEnum):
    """What the learner does."""

    DOWN = "down"  # dead, restarting or restoring
    IDLE = "idle"
    UPDATING = "updating"


class Scheduler:
    """One asynchronous run. Call `on` with every event until it returns an End."""

    def __init__(self, pace: Pace, engines: Fleet, graders: Fleet, learner: Fleet, ledger: Ledger, *,
                 checkpoint: int = 0, replay: Sequence[TakenBatch] = ()) -> None:  # fmt: skip
        """`checkpoint`: the version that the learner has been restored to; `replay`: batches taken after it, in order."""
        self.pace, self.engines, self.graders, self.ledger = pace, engines, graders, ledger
        self.fleets = {LEARNER: learner} | dict.fromkeys(engines.members, engines) | dict.fromkeys(graders.members, graders)
        self.version = checkpoint + len(replay)  # updates done, by this learner or by the one before it
        # Every batch taken since the checkpoint, in order, and the part of them that the learner still has to repeat.
        self.checkpoint, self.taken, self.to_replay = checkpoint, list(replay), deque(replay)
        self.learning, self.published, self.publishing = Learning.IDLE, -1, False
        self.idle_engines, self.idle_graders = dict.fromkeys(engines.members), dict.fromkeys(graders.members)
        self.held: dict[
            str, None
        ] = {}  # idle engines with nothing to sample while admission is shut: not looked at till it opens
        self.to_grade: deque[Key] = deque()
        self.grading: dict[str, Key] = {}
        self.rejections: Counter[str] = Counter()
        self.checkpointing = False
        self.stopping: StopAsked | None = None
        self.ended: End | None = None
        self.waits = WaitMetrics(list(engines.members))

    def begin(self, now: float) -> list[Action]:
        """The first actions. `engines` must be started and STALE."""
        self.waits.learner_idle(now)
        for name in self.graders.members:
            self.graders.loaded(name, 0)
        return self._dispatch(now)

    def on(self, event: Event, now: float) -> list[Action]:
        """The actions that follow from one event."""
        return [] if self.ended else [*self._take_in(event, now), *self._dispatch(now)]

    @property
    def next_update(self) -> int:
        """The first update whose batch is not taken yet."""
        return self.checkpoint + len(self.taken)

    @property
    def replaying(self) -> bool:
        """Whether the learner still has to repeat batches that were taken before it died."""
        return bool(self.to_replay)

    def _take_in(self, event: Event, now: float) -> list[Action]:
        match event:
            case Advanced(engine, finished, aborted):
                self._answered(engine, self.idle_engines)
                done = [key for key in finished if self.ledger.sampled(key.ordinal, key.attempt)]
                self.to_grade.extend(done)
                lost = (self.ledger.lose(key.ordinal, key.attempt, Reason.OVER_AGE) for key in aborted)
                return self._drops(d for d in lost if d)
            case Loaded(engine, version, gap):
                self._answered(engine, self.idle_engines)
                self.rejections[engine] = 0
                self.engines.loaded(engine, version)
                self.waits.loaded(gap)
            case Rejected(engine, version, why):
                self._answered(engine, self.idle_engines)
                self.rejections[engine] += 1
                if self.rejections[engine] > 1:
                    return self._died(engine, f"refused twice: {why}")
                self.published = -1  # the published bytes may be damaged, so the learner publishes the version again
            case Graded(grader, key):
                self._answered(grader, self.idle_graders)
                self.grading.pop(grader, None)
                self.ledger.graded(key.ordinal, key.attempt)
            case Updated(version):
                return self._updated(version, now)
            case Published(version):
                self.published, self.publishing = max(self.published, version), False
                self.engines.publish(self.published)
            case Checkpointed(version):
                return self._checkpointed(version)
            case Restored():
                self.learning = Learning.IDLE
                self.to_replay = deque(self.taken)
                self.waits.learner_idle(now)
            case Died(name, why):
                return self._died(name, why)
            case Started(name):
                return self._started(name)
            case Tick():
                fleets = (self.engines, self.graders, self.fleets[LEARNER])
                return [a for fleet in fleets for name in fleet.silent(now) for a in self._died(name, "does not answer")]
            case StopAsked():
                self.stopping = event
        return []

    def _answered(self, name: str, idle: dict[str, None]) -> None:
        self.fleets[name].answered(name)
        idle[name] = None

    def _updated(self, version: int, now: float) -> list[Action]:
        self.fleets[LEARNER].answered(LEARNER)
        self.learning = Learning.IDLE
        self.waits.learner_idle(now)
        if self.replaying:
            self.to_replay.popleft()
        self.version = max(self.version, version)  # a replay may end with an update that was never finished before
        if self.replaying:
            return []
        last = version == self.pace.updates
        due = version > self.checkpoint and (last or version % self.pace.checkpoint_every == 0)
        return self._checkpoint() if due else []

    def _checkpoint(self) -> list[Action]:
        self.checkpointing = True
        return [Checkpoint(self.version, self.ledger.frontier, tuple(sorted(self.ledger.ahead)))]

    def _checkpointed(self, version: int) -> list[Action]:
        covered = [batch for batch in self.taken if batch.update < version]
        self.taken = [batch for batch in self.taken if batch.update >= version]
        self.checkpoint, self.checkpointing = version, False
        return [Forget(tuple(key for batch in covered for key in batch.keys))]

    def _died(self, name: str, why: str) -> list[Action]:
        fleet = self.fleets[name]
        again = fleet.died(name)
        actions: list[Action] = []
        if name == LEARNER:
            # The published bytes may be lost with its node. The replay makes and publishes the same version again.
            self.learning, self.published, self.publishing, self.checkpointing = Learning.DOWN, -1, False, False
            self.to_replay.clear()
        elif fleet is self.engines:
            self.idle_engines.pop(name, None)
            self.held.pop(name, None)
            self.rejections[name] = 0
            self.waits.engine_gone(name)
            lost = (self.ledger.lose(e.ordinal, e.attempt, Reason.ENGINE_LOST) for e in self.ledger.running_on(name))
            actions += self._drops(d for d in lost if d)
        else:
            self.idle_graders.pop(name, None)
            if key := self.grading.pop(name, None):
                self.to_grade.appendleft(key)
        if again:
            fleet.restarting(name)
            return [*actions, Restart(name, why)]
        if fleet.below_floor():
            left = f"restarted {fleet.limits.restarts} times, {fleet.limits.floor} needed"
            return [*actions, *self._end(EndReason.FLOOR, f"{name} died ({why}); {left}")]
        return [*actions, Retire(name, why)]

    def _started(self, name: str) -> list[Action]:
        fleet = self.fleets[name]
        fleet.started(name)
        if name == LEARNER:
            fleet.loaded(LEARNER, 0)
            return [Restore(self.checkpoint)]
        if fleet is self.graders:
            fleet.loaded(name, 0)  # graders have no weights
            self.idle_graders[name] = None
        else:
            self.idle_engines[name] = None
        return []

    def _drops(self, dropped: Iterable[Dropped]) -> list[Action]:
        actions: list[Action] = []
        for d in dropped:
            self.waits.dropped[d.reason] += 1
            actions.append(Drop(d))
        return actions

    def _end(self, outcome: EndReason, why: str = "") -> list[Action]:
        self.ended = End(outcome, why)
        # A run that can be resumed keeps its open groups open: they are sampled again.
        left = self.ledger.end() if outcome is EndReason.DONE else []
        return [*self._drops(left), self.ended]

    def _dispatch(self, now: float) -> list[Action]:
        """Give work to every part that has none."""
        if self.ended:
            return []
        actions = self._to_learner(now)
        if self.ended:
            return actions
        return [*actions, *self._to_engines(now), *self._to_graders(now)]

    def _to_learner(self, now: float) -> list[Action]:
        if self.learning is not Learning.IDLE:
            return []
        if self.replaying:
            return [self._start_update(self.to_replay[0], True, now)]
        actions: list[Action] = []
        if self.version == self.pace.updates or self.stopping:
            return self._towards_the_end()
        if self.published < self.version and not self.publishing:
            self.publishing = True
            actions.append(Publish(self.version))  # at the start: publish the restored version first
        taken = self.ledger.take(self.version, self.pace.prompts, self.pace.max_staleness)
        actions += self._drops(taken.dropped)
        if taken.batch:
            batch = TakenBatch(self.version, tuple(Key(e.ordinal, e.attempt) for e in taken.batch))
            self.taken.append(batch)
            actions.append(self._start_update(batch, False, now))
        return actions

    def _towards_the_end(self) -> list[Action]:
        if self.checkpointing:
            return []
        if self.checkpoint != self.version:
            return self._checkpoint()
        if self.version == self.pace.updates:
            return self._end(EndReason.DONE)
        # Graders finish their groups first: they are then in the journal, where a resumed run finds them.
        return [] if self.grading else self._end(EndReason.STOPPED)

    def _start_update(self, batch: TakenBatch, replay: bool, now: float) -> Action:
        self.learning = Learning.UPDATING
        self.fleets[LEARNER].asked(LEARNER, now)
        return Update(batch.update, batch.keys, replay, self._stats(now))

    def _stats(self, now: float) -> Row:
        stages = {"queue/ready": Stage.READY, "queue/sampled": Stage.SAMPLED, "queue/running": Stage.RUNNING}
        depth = {name: self.ledger.count(stage) for name, stage in stages.items()}
        return {"engines_healthy": len(self.engines.serving()), **depth, **self.waits.read(now)}

    def _to_engines(self, now: float) -> list[Action]:
        actions: list[Action] = []
        if self.stopping:
            return actions
        if self.held and self._room(self.engines.current) > 0:  # by a batch that was taken, or a version that came out
            self.idle_engines, self.held = self.idle_engines | self.held, {}
        # An even share of everything that may be under way, so that no engine hoards what others could sample: not the first
        # one to have loaded either, while the others still do.
        share = math.ceil((self.pace.max_staleness + 1) * self.pace.prompts / max(1, self.engines.up()))
        share = min(share, self.pace.engine_groups)
        for name in list(self.idle_engines):
            if self.published >= 0 and self.engines.behind(name):
                actions.append(Load(name, self.published))
            elif self.engines.serves(name):
                groups = self._admit(name, share)
                if not groups and not self.ledger.load_of(name):
                    self.waits.engine_idle(name, now)
                    self.held[name] = self.idle_engines.pop(name)
                    continue
                actions.append(Advance(name, groups, self.engines.version(name)))
                self.waits.engine_busy(name, now)
            else:
                continue
            del self.idle_engines[name]
            self.engines.asked(name, now)
        return actions

    def _room(self, version: int) -> int:
        """How many more groups may be admitted, sampled with `version`."""
        pace = self.pace
        return room(
            version=version,
            next_update=self.next_update,
            alive=self.ledger.usable(self.next_update, pace.max_staleness),
            prompts=pace.prompts,
            max_staleness=pace.max_staleness,
            updates=pace.updates,
        )

    def _admit(self, engine: str, share: int) -> tuple[Key, ...]:
        version = self.engines.version(engine)
        count = min(self._room(version), share - self.ledger.load_of(engine))
        entries = [self.ledger.admit(engine, version) for _ in range(count)]
        return tuple(Key(e.ordinal, e.attempt) for e in entries)

    def _to_graders(self, now: float) -> list[Action]:
        actions: list[Action] = []
        if not self.to_grade or not self.idle_graders or self.stopping:
            return actions
        up = (name for name in self.idle_graders if self.graders.serves(name))
        for name in list(itertools.islice(up, len(self.to_grade))):
            key = self.to_grade.popleft()
            del self.idle_graders[name]
            self.grading[name] = key
            self.graders.asked(name, now)
            actions.append(Grade(name, key))
        return actions
