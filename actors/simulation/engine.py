"""An engine of the simulator: continuous batching, counted in steps, that behaves like `advance` and `load` of engines/vllm.py.

Every running sequence gains one token per decode step; a step takes `step_s`, and `sequence_s` more per running sequence.
Invariant: time advances by steps only. The length of a slice decides when the driver hears of a group, not when the group is
complete (except for the step that overruns a slice). Prefill is not modelled.
"""

import heapq
import itertools
import math
from collections.abc import Sequence

from vgrout.group_records import Key


class SimulatedEngine:
    """One process; a new one begins empty."""

    def __init__(self, step_s: float, sequence_s: float, max_staleness: int) -> None:
        self.step_s, self.sequence_s, self.max_staleness = step_s, sequence_s, max_staleness
        self.version = -1
        self._steps = 0  # decoded so far
        self._ends: list[tuple[int, int, Key]] = []  # heap: (step at which a sequence ends, its number, its group)
        self._number = itertools.count()
        self._open: dict[Key, int] = {}  # sequences of a group that are running
        self._wrote: dict[Key, int] = {}
        self._running = 0
        self._aborted: list[Key] = []

    def admit(self, key: Key, lengths: Sequence[int]) -> None:
        """Begin with a group, by the version that is served."""
        self._open[key], self._wrote[key] = len(lengths), self.version
        self._running += len(lengths)
        for length in lengths:
            heapq.heappush(self._ends, (self._steps + length, next(self._number), key))

    def load(self, version: int) -> None:
        """Serve a version from now on; groups that no update can take any more are given up."""
        self.version = version
        self._retire()

    def advance(self, slice_s: float) -> tuple[float, tuple[Key, ...], tuple[Key, ...]]:
        """Work until some group is whole, for `slice_s` at most: (seconds, whole groups, groups given up)."""
        spent, whole = 0.0, []
        while self._running and not whole and spent < slice_s:
            self._skip_aborted()
            cost = self.step_s + self.sequence_s * self._running
            steps = min(self._ends[0][0] - self._steps, math.ceil((slice_s - spent) / cost))
            spent, self._steps = spent + steps * cost, self._steps + steps
            whole = self._ended()
        if whole:
            self._retire()
        aborted, self._aborted = tuple(self._aborted), []
        return spent, tuple(whole), aborted

    def _skip_aborted(self) -> None:
        while self._ends[0][2] not in self._open:
            heapq.heappop(self._ends)

    def _ended(self) -> list[Key]:
        whole = []
        while self._ends and self._ends[0][0] <= self._steps:
            key = heapq.heappop(self._ends)[2]
            if key not in self._open:
                continue
            self._running, self._open[key] = self._running - 1, self._open[key] - 1
            if not self._open[key]:
                del self._open[key], self._wrote[key]
                whole.append(key)
        return whole

    def _retire(self) -> None:
        for key in [k for k, version in self._wrote.items() if version < self.version - self.max_staleness]:
            self._running -= self._open.pop(key)
            del self._wrote[key]
            self._aborted.append(key)
