"""Checks that a simulated run keeps the driver's promises: an independent record of every group, compared with the ledger.

Invariant: a broken promise of the driver (a group trained twice or too old, a version nobody published, a settled ordinal that
nothing settled) raises at the moment it happens; `close` proves that every admitted ordinal was consumed once, or dropped with
a reason, or, where the run did not end well, is still open.
"""

from actors.async_run.group_ledger import Ledger
from actors.async_run.messages import EndReason
from vgrout.group_records import Dropped, Key


class InvariantBroken(RuntimeError):
    """The driver broke a promise."""


def need(true: bool, promise: str) -> None:
    """Raise InvariantBroken unless `true`."""
    if not true:
        raise InvariantBroken(promise)


class InvariantChecker:
    """The record of one run."""

    def __init__(self, prompts: int, max_staleness: int) -> None:
        self.prompts, self.max_staleness = prompts, max_staleness
        self.wrote: dict[Key, int] = {}  # version, by attempt
        self.graded: set[Key] = set()
        self.consumed: dict[int, tuple[Key, ...]] = {}
        self.dropped: list[Dropped] = []
        self.learner = self.disk = 0  # versions of the learner and of its newest checkpoint

    def admit(self, key: Key, version: int) -> None:
        """An engine that serves `version` begins with an attempt."""
        need(key not in self.wrote, f"{key} was given out twice")
        self.wrote[key] = version

    def grade(self, key: Key) -> None:
        """An attempt was graded."""
        need(key in self.wrote, f"{key} was graded, and never sampled")
        self.graded.add(key)

    def update(self, update: int, keys: tuple[Key, ...], replay: bool) -> None:
        """The learner begins an update."""
        need(update == self.learner, f"update {update} was asked of a learner of version {self.learner}")
        need(replay == (update in self.consumed), f"update {update}: replayed and taken before must be the same")
        if replay:
            need(self.consumed[update] == keys, f"update {update} was replayed with other groups")
            return
        need(len(keys) == self.prompts and self.graded.issuperset(keys), f"update {update}: not a whole graded batch")
        ages = [update - self.wrote[key] for key in keys]
        need(all(0 <= age <= self.max_staleness for age in ages), f"update {update} consumes ages {ages}")
        self.consumed[update] = keys

    def updated(self, version: int) -> None:
        """The learner is at `version`."""
        self.learner = version

    def drop(self, dropped: Dropped) -> None:
        """An attempt was given up."""
        self.dropped.append(dropped)

    def checkpoint(self, version: int, frontier: int, ahead: tuple[int, ...]) -> None:
        """A checkpoint is asked for, with the ledger's idea of what is settled."""
        need(version == self.learner, f"checkpoint {version} of a learner of version {self.learner}")
        need(self._settled() == set(range(frontier)) | set(ahead), f"checkpoint {version}: settled ordinals are others")

    def restore(self, version: int) -> None:
        """A new learner goes back to a checkpoint."""
        need(version == self.disk, f"restored {version}, and {self.disk} is on the disk")
        self.learner = version

    def close(self, outcome: EndReason, ledger: Ledger) -> None:
        """The run is over."""
        taken = [key.ordinal for keys in self.consumed.values() for key in keys]
        final = [d.ordinal for d in self.dropped if d.final]
        need(len(taken) == len(set(taken)), "an ordinal was consumed twice")
        need(len(final) == len(set(final)), "an ordinal was dropped for good twice")
        need(not set(taken) & set(final), "an ordinal was consumed and dropped")
        need(self._settled() == set(range(ledger.frontier)) | ledger.ahead, "the ledger says otherwise")
        left = {key.ordinal for key in self.wrote} - self._settled()
        need(outcome is not EndReason.DONE or not left, f"neither consumed nor dropped: {sorted(left)}")

    def _settled(self) -> set[int]:
        consumed = {key.ordinal for keys in self.consumed.values() for key in keys}
        return consumed | {d.ordinal for d in self.dropped if d.final}
