"""The problem of the group with ordinal o: seeded epochs over all training ids, a pure function of (seed, o).

Invariant: an epoch is a full shuffle, so every training id is drawn once before any is drawn twice.
"""

from collections.abc import Sequence
from functools import lru_cache

from vgrout.seeds import rng


def split_validation(ids: Sequence[int], count: int, seed: int) -> tuple[list[int], list[int]]:
    """(training ids, validation ids): a seeded draw of `count` validation ids that are never trained on."""
    order = sorted(ids)
    rng(seed, "validation").shuffle(order)
    return sorted(order[count:]), sorted(order[:count])


def problem_at(ids: Sequence[int], ordinal: int, seed: int) -> int:
    """The problem id of the group `ordinal` (from 0)."""
    epoch, place = divmod(ordinal, len(ids))
    return _epoch_order(tuple(ids), epoch, seed)[place]


@lru_cache(maxsize=8)
def _epoch_order(ids: tuple[int, ...], epoch: int, seed: int) -> list[int]:
    order = sorted(ids)
    rng(seed, "order", epoch).shuffle(order)
    return order
