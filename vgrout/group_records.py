"""Small records that name a group and say what happened to it. Plain data: no tensors, handles or texts."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class Key:
    """One attempt at one group."""

    ordinal: int
    attempt: int


class Reason(StrEnum):
    """Why an attempt was given up."""

    OVER_AGE = "over_age"  # sampled by a version too old for the update that would have consumed it
    ENGINE_LOST = "engine_lost"  # its engine died
    RUN_ENDED = "run_ended"


@dataclass(frozen=True)
class Dropped:
    """An attempt that was given up; `final` where the ordinal is settled by it and not sampled again."""

    ordinal: int
    attempt: int
    reason: Reason
    final: bool


@dataclass(frozen=True)
class TakenBatch:
    """The groups that update `update` took."""

    update: int
    keys: tuple[Key, ...]
