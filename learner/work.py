"""How a batch is divided: into units that share a prompt, over learners, and into micro-batches.

Invariant: the division follows from the samples and their order alone, and every rollout is in exactly one micro-batch.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from learner.model import Tokens
from vgrout.records import Sample

K = TypeVar("K", bound=StrEnum)  # a policy or a gate label


@dataclass(frozen=True)
class Unit(Generic[K]):
    """Rollouts of one group that are computed alike (`kind`), so that they can share their prompt's forward pass."""

    kind: K
    rows: tuple[int, ...]
    tokens: int  # the prompt once, and all completions
    longest: int  # completion


def units(samples: Sequence[Sample], kinds: Sequence[K], budget: int, rows: Iterable[int] | None = None) -> list[Unit[K]]:
    """Rows of equal kind and group, in the order in which they first come; more than `budget` tokens are split.

    `rows`: the indices to divide, where not all.
    """
    together: dict[tuple[K, int], list[int]] = {}
    for row in range(len(samples)) if rows is None else rows:
        together.setdefault((kinds[row], samples[row].group), []).append(row)
    return [unit for (kind, _), members in together.items() for unit in _split(kind, members, samples, budget)]


def chunks(items: Sequence[Tokens], budget: int) -> list[list[int]]:
    """Indices of `items`, in order, in runs of at most `budget` tokens (each prompt counted every time) or of one item."""
    runs: list[list[int]] = []
    used = 0
    for index, item in enumerate(items):
        size = len(item.prompt_ids) + len(item.completion_ids)
        if runs and used + size <= budget:
            runs[-1].append(index)
            used += size
        else:
            runs.append([index])
            used = size
    return runs


def micro_batches(work: list[Unit[K]], budget: int) -> list[tuple[K, list[int]]]:
    """(kind, rows) of runs of units of one kind and of similar length, each of at most `budget` tokens or of one unit."""
    runs: list[tuple[K, list[int]]] = []
    used = 0
    for unit in sorted(work, key=lambda u: (u.kind, u.longest, u.rows)):
        if runs and runs[-1][0] == unit.kind and used + unit.tokens <= budget:
            runs[-1][1].extend(unit.rows)
            used += unit.tokens
        else:
            runs.append((unit.kind, list(unit.rows)))
            used = unit.tokens
    return runs


def _split(kind: K, members: list[int], samples: Sequence[Sample], budget: int) -> list[Unit[K]]:
    prompt = len(samples[members[0]].prompt_ids)
    runs: list[list[int]] = []
    used = 0
    for row in members:
        size = len(samples[row].completion_ids)
        if runs and used + size <= budget:
            runs[-1].append(row)
            used += size
        else:
            runs.append([row])
            used = prompt + size
    lengths = [[len(samples[row].completion_ids) for row in run] for run in runs]
    return [Unit(kind, tuple(run), prompt + sum(n), max(n)) for run, n in zip(runs, lengths, strict=True)]
