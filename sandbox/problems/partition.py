"""Deal the problems out to the loopholes: each problem discloses exactly one.

Invariant: the parts do not overlap, differ in size by at most one, and depend on the set of ids and the seed alone.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from vgrout.errors import UserError
from vgrout.records import LOOPHOLES
from vgrout.seeds import rng


def partition(problem_ids: Iterable[int], seed: int, modes: Sequence[str] = LOOPHOLES) -> dict[int, str]:
    """Map each problem id to its mode. Raises UserError for a repeated id or for no modes."""
    ids = sorted(problem_ids)
    if not modes:
        raise UserError("partition", "no modes", "at least one mode")
    for one, other in pairwise(ids):
        if one == other:
            raise UserError("partition", f"problem id {one} twice", "each id once")
    rng(seed, "partition").shuffle(ids)
    return {problem: modes[place % len(modes)] for place, problem in enumerate(ids)}
