"""The problem of the group with ordinal o: seeded epochs over all training ids, a pure function of (seed, o).

Invariant: an epoch is a full shuffle, so every training id is drawn once before any is drawn twice.
"""

from collections.abc import Sequence

from vgrout.seeds import rng


def split_validation(ids: Sequence[int], count: int, seed: int) -> tuple[list[int], list[int]]:
    """(training ids, validation ids): a seeded draw of `count` validation ids that are never trained on."""
    order = sorted(ids)
    rng(seed, "validation").shuffle(order)
    return sorted(order[count:]), sorted(order[:count])


def problem_at(ids: Sequence[int], ordinal: int, seed: int) -> int:
    """The problem id of the group `ordinal` (from 0)."""
    epoch, place = divmod(ordinal, len(ids))
    order = sorted(ids)
    rng(seed, "order", epoch).shuffle(order)
    return order[place]
