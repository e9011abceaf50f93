"""Groups from requests to verdicts: each is graded as soon as an engine has finished it, while others are still sampled.

Invariant: which groups come, and what is in them, does not depend on who was faster; only their order does.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from typing import Any

from actors.engines.protocol import Group, Slice
from actors.journal.journal import Graded
from actors.ray_cluster.calls import Pending, finish, first_done
from actors.ray_cluster.workers import Workers
from actors.rollouts.dataset import Dataset
from actors.rollouts.sampling import grade_jobs
from actors.rollouts.work_log import WorkLog
from vgrout.group_records import Key
from vgrout.records import Audit, Reward, Rollout


class GroupFlow:
    """The groups of one update on their way through engines and graders."""

    def __init__(
        self,
        workers: Workers,
        dataset: Dataset,
        groups: list[Group],
        work: WorkLog | None = None,
        whole: Callable[[list[Rollout]], None] = lambda rollouts: None,
    ) -> None:
        """Give every engine its share of the groups; all of a share begin together. `whole` hears of a group before its verdicts
        come.
        """
        self.workers, self.dataset, self.graders = workers, dataset, cycle(workers.grader_names)
        self.calls: list[tuple[Pending[Any], Callable[[Any], list[Graded]]]] = []
        self.work = work or WorkLog()
        self.sampling: dict[str, int] = {}  # groups that an engine still owes
        self.total, self.judged, self.whole = len(groups), 0, whole
        names = workers.engine_names
        for i, name in enumerate(names):
            if share := groups[i :: len(names)]:
                self.sampling[name] = len(share)
                self._advance(name, share)

    def graded(self, sampled: Callable[[], None]) -> Iterator[Graded]:
        """The groups, as their verdicts come; `sampled` is called when the engines are done. Raises WorkerDied."""
        while self.calls:
            pending, then = self.calls.pop(first_done([call for call, _ in self.calls]))
            working = bool(self.sampling)
            found = then(finish(pending))
            if working and not self.sampling:
                sampled()
            yield from found

    def far(self) -> str:
        """How far the groups are."""
        return f"sampled {self.total - sum(self.sampling.values())}/{self.total} groups, graded {self.judged}"

    def _advance(self, engine: str, groups: list[Group]) -> None:
        span = self.work.begin(engine, "sample")
        self.calls.append((self.workers.engine(engine).advance(groups, math.inf), partial(self._sampled, engine, span)))

    def _sampled(self, engine: str, span: int, found: Slice) -> list[Graded]:
        self.work.end(span)
        assert not found.aborted  # no newer version comes while an update samples
        self.sampling[engine] -= len(found.finished)
        if self.sampling[engine]:
            self._advance(engine, [])
        else:
            del self.sampling[engine]
        for key, rollouts in found.finished:
            grader = next(self.graders)
            begun = self.work.begin(grader, "grade")
            call = self.workers.grader(grader).grade(grade_jobs(self.dataset, rollouts))
            self.calls.append((call, partial(self._judged, key, rollouts, begun)))
            self.whole(rollouts)
        return []

    def _judged(self, key: Key, rollouts: list[Rollout], span: int, verdicts: list[tuple[Reward, Audit]]) -> list[Graded]:
        self.work.end(span)
        self.judged += 1
        return [Graded(key, rollouts, [reward for reward, _ in verdicts], [audit for _, audit in verdicts])]
