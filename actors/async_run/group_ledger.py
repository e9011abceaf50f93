"""The state of every group: each ordinal is consumed by exactly one update, or dropped with a reason. No I/O.

An ordinal goes RUNNING -> SAMPLED -> READY -> consumed. One that is lost with its engine, or too old when its turn comes,
goes back to the front of the queue as a new attempt of the same prompt; after `attempts` attempts it is dropped for good.
Invariants: `frontier` and `ahead` say exactly which ordinals are settled; a result of an attempt that was given up is
ignored; the next admitted ordinal is always the lowest one that is neither alive nor settled, so what a crash interrupts
(long rollouts more often than short ones) is sampled again and not replaced by something else.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from actors.async_run.staleness import young
from vgrout.group_records import Dropped, Reason


class Stage(StrEnum):
    """How far an admitted group is."""

    RUNNING = "running"  # an engine samples it
    SAMPLED = "sampled"  # a grader has it, or will
    READY = "ready"  # graded; an update may take it


@dataclass(frozen=True)
class Entry:
    """One admitted group that no update has taken yet."""

    ordinal: int
    attempt: int
    engine: str
    version: int
    stage: Stage = Stage.RUNNING


@dataclass(frozen=True)
class Taken:
    """The result of `take`: the batch in ordinal order (empty if there are too few groups), and the groups that were too old."""

    batch: tuple[Entry, ...]
    dropped: tuple[Dropped, ...]


class Ledger:
    """The groups of one run."""

    def __init__(self, frontier: int = 0, ahead: Iterable[int] = (), attempts: int = 3) -> None:
        """Every ordinal below `frontier` and those in `ahead` are settled; an ordinal has `attempts` attempts at most."""
        self.frontier, self.ahead, self.limit = frontier, set(ahead), attempts
        self.alive: dict[int, Entry] = {}
        self.given_up: Counter[int] = Counter()  # attempts given up, by ordinal that is not settled
        self._again: list[int] = []  # heap of ordinals to admit again
        self._fresh = frontier  # the lowest ordinal that was never admitted or adopted
        # Indexes of `alive`: with hundreds of engines, a loop over all groups per question is too slow.
        self._on: defaultdict[str, set[int]] = defaultdict(set)  # running, by engine
        self._stages: Counter[Stage] = Counter()
        self._versions: Counter[int] = Counter()
        self._ready: set[int] = set()

    def admit(self, engine: str, version: int) -> Entry:
        """Give the lowest ordinal that is neither alive nor settled to `engine`, which serves `version`."""
        if self._again:
            ordinal = heapq.heappop(self._again)
        else:
            while self._fresh in self.alive or self.settled(self._fresh):
                self._fresh += 1
            ordinal = self._fresh
        return self._put(Entry(ordinal, self.given_up[ordinal], engine, version))

    def adopt(self, ordinal: int, attempt: int, version: int) -> None:
        """Enter a group that an earlier process sampled and graded, as the journal says: it is READY.

        Call before the first `admit`.
        """
        if not self.settled(ordinal):
            self.given_up[ordinal] = attempt
            self._put(Entry(ordinal, attempt, "journal", version, Stage.READY))

    def settle(self, ordinals: Iterable[int]) -> None:
        """Ordinals that were consumed, or dropped for good, before this process began."""
        for ordinal in ordinals:
            self._settle(ordinal)

    def sampled(self, ordinal: int, attempt: int) -> bool:
        """An engine has finished the attempt. Returns False if the attempt was given up meanwhile: ignore its result."""
        return self._advance(ordinal, attempt, Stage.RUNNING, Stage.SAMPLED)

    def graded(self, ordinal: int, attempt: int) -> bool:
        """A grader has finished the attempt. Returns False if the attempt was given up meanwhile, or graded before."""
        return self._advance(ordinal, attempt, Stage.SAMPLED, Stage.READY)

    def lose(self, ordinal: int, attempt: int, reason: Reason) -> Dropped | None:
        """Give up a running attempt. Returns None if it is not running any more."""
        entry = self.alive.get(ordinal)
        if entry is None or entry.attempt != attempt or entry.stage is not Stage.RUNNING:
            return None
        return self._give_up(entry, reason)

    def running_on(self, engine: str) -> list[Entry]:
        """What an engine is sampling, by ordinal."""
        return [self.alive[ordinal] for ordinal in sorted(self._on[engine])]

    def load_of(self, engine: str) -> int:
        """How many groups an engine is sampling."""
        return len(self._on[engine])

    def count(self, stage: Stage) -> int:
        """How many groups are at a stage."""
        return self._stages[stage]

    def usable(self, update: int, max_staleness: int) -> int:
        """How many admitted groups update `update` or a later one may still take."""
        return sum(n for version, n in self._versions.items() if version >= update - max_staleness)

    def take(self, update: int, prompts: int, max_staleness: int) -> Taken:
        """Give up READY groups that are too old; then settle `prompts` of the others for `update`, oldest version first."""
        if len(self._ready) < prompts:
            return Taken((), ())
        ready = [self.alive[ordinal] for ordinal in sorted(self._ready)]
        old = [e for e in ready if not young(version=e.version, update=update, max_staleness=max_staleness)]
        dropped = tuple(self._give_up(e, Reason.OVER_AGE) for e in old)
        rest = sorted((e for e in ready if e.ordinal in self._ready), key=lambda e: (e.version, e.ordinal))
        if len(rest) < prompts:
            return Taken((), dropped)
        batch = sorted(rest[:prompts], key=lambda e: e.ordinal)
        self.settle(e.ordinal for e in batch)
        return Taken(tuple(batch), dropped)

    def settled(self, ordinal: int) -> bool:
        """Consumed, or dropped for good."""
        return ordinal < self.frontier or ordinal in self.ahead

    def end(self) -> list[Dropped]:
        """The run is over: drop what is still alive, and what was to be sampled again."""
        for ordinal in self._again:
            self._put(Entry(ordinal, self.given_up[ordinal], "", 0))
        self._again = []
        return [self._give_up(entry, Reason.RUN_ENDED) for entry in sorted(self.alive.values(), key=lambda e: e.ordinal)]

    def _advance(self, ordinal: int, attempt: int, before: Stage, after: Stage) -> bool:
        entry = self.alive.get(ordinal)
        if entry is None or entry.attempt != attempt or entry.stage is not before:
            return False
        self._remove(entry)
        self._put(replace(entry, stage=after))
        return True

    def _give_up(self, entry: Entry, reason: Reason) -> Dropped:
        self._remove(entry)
        self.given_up[entry.ordinal] += 1
        # The limit is for prompts whose rollouts always come too late. The death of an engine does not count.
        final = reason is Reason.RUN_ENDED or (reason is Reason.OVER_AGE and entry.attempt + 1 >= self.limit)
        if final:
            self._settle(entry.ordinal)
        else:
            heapq.heappush(self._again, entry.ordinal)
        return Dropped(entry.ordinal, entry.attempt, reason, final)

    def _settle(self, ordinal: int) -> None:
        if entry := self.alive.get(ordinal):
            self._remove(entry)
        self.given_up.pop(ordinal, None)
        if ordinal >= self.frontier:
            self.ahead.add(ordinal)
        while self.frontier in self.ahead:
            self.ahead.remove(self.frontier)
            self.frontier += 1

    def _put(self, entry: Entry) -> Entry:
        self.alive[entry.ordinal] = entry
        self._stages[entry.stage] += 1
        self._versions[entry.version] += 1
        if entry.stage is Stage.RUNNING:
            self._on[entry.engine].add(entry.ordinal)
        if entry.stage is Stage.READY:
            self._ready.add(entry.ordinal)
        return entry

    def _remove(self, entry: Entry) -> None:
        del self.alive[entry.ordinal]
        self._stages[entry.stage] -= 1
        self._versions[entry.version] -= 1
        if not self._versions[entry.version]:
            del self._versions[entry.version]
        self._on[entry.engine].discard(entry.ordinal)
        self._ready.discard(entry.ordinal)
