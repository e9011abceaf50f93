"""What the asynchronous driver gives an engine (groups to sample) and gets back (what was finished in a slice of time).

Invariant: a group comes back exactly once: complete, with its rollouts in order, or listed as given up.
"""

from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from vgrout.config import Config
from vgrout.group_records import Key
from vgrout.records import AdapterVersion, Rollout, SampleRequest

Canary: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]  # (prompt ids, completion ids) of a fixed text


@dataclass(frozen=True)
class Group:
    """One attempt at one group: the requests that make it up (one per sampling policy)."""

    key: Key
    requests: tuple[SampleRequest, ...]


@dataclass(frozen=True)
class Slice:
    """The groups that an engine has finished, or given up as too old for any update, since the last call."""

    finished: list[tuple[Key, list[Rollout]]] = field(default_factory=list)
    aborted: list[Key] = field(default_factory=list)


@dataclass(frozen=True)
class Compared:
    """How many of its answers an engine has sampled for a comparison of versions; when it has all, one list a version."""

    done: int
    answers: list[list[Rollout]] | None = None


class Engine(Protocol):
    """What every engine can do. `load` returns the canary's gap and raises AdapterRejected where it is too large."""

    def __init__(self, config: Config, canary: Canary) -> None: ...
    def load(self, adapter: AdapterVersion) -> float: ...
    def generate(self, requests: list[SampleRequest]) -> list[Rollout]: ...
    def compare(self, adapters: list[AdapterVersion], requests: list[SampleRequest], slice_s: float) -> Compared: ...
    def advance(self, groups: list[Group], slice_s: float) -> Slice: ...
    def clear(self) -> None: ...
    def close(self) -> None: ...


EngineClass: TypeAlias = type[Engine]
