"""What an engine and the asynchronous driver hand each other: groups to sample, and what became of them in a slice of time.

Invariant: a group comes back once: whole, with its rollouts in order, or named as given up.
"""

from dataclasses import dataclass, field

from vgrout.group_records import Key
from vgrout.records import Rollout, SampleRequest


@dataclass(frozen=True)
class Group:
    """One attempt at one group: the requests that make it up (one per sampling policy)."""

    key: Key
    requests: tuple[SampleRequest, ...]


@dataclass(frozen=True)
class Slice:
    """What an engine finished, and gave up as too old for any update, since it was last asked."""

    finished: list[tuple[Key, list[Rollout]]] = field(default_factory=list)
    aborted: list[Key] = field(default_factory=list)


def index_of(rollout: Rollout) -> int:
    """Place of a rollout in its group; its id is `<group>-<index>`."""
    return int(rollout.id.split("-")[1])
