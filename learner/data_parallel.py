"""Data parallelism of the learner: every rank gets the whole batch, works on its part, and ends with the same adapter.

Invariants: with one rank nothing here computes anything, so the bytes are those of a learner without it; with several,
labels, advantages and v_grad are the same on all ranks, gradients are summed over ranks before anything reads them, and
the adapters of all ranks stay bit-identical. Knows torch.distributed (NCCL on GPUs, gloo on CPUs), no ray.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from learner.work import Unit

T = TypeVar("T")
Id = TypeVar("Id", str, int)
K = TypeVar("K", bound=StrEnum)
TIMEOUT = timedelta(minutes=10)  # a rank that hangs ends the others with an error; a dead one is noticed at once


@dataclass(frozen=True)
class Team:
    """This process's place among `size` learners."""

    rank: int = 0
    size: int = 1

    def owns(self, group: int) -> bool:
        """True where this rank computes what belongs to a group as a whole."""
        return group % self.size == self.rank

    def mine(self, work: list[Unit[K]]) -> list[Unit[K]]:
        """This rank's part of the work: the longest unit first, each to the rank with the fewest tokens so far."""
        if self.size == 1:
            return work
        loads, mine = [0] * self.size, []
        for unit in sorted(work, key=lambda u: (-u.tokens, u.rows)):
            rank = loads.index(min(loads))
            loads[rank] += unit.tokens
            if rank == self.rank:
                mine.append(unit)
        return mine

    def merged(self, values: dict[Id, T]) -> dict[Id, T]:
        """The entries of all ranks."""
        return values if self.size == 1 else {k: v for part in self._gather(values) for k, v in part.items()}

    def concat(self, values_N: Tensor) -> Tensor:
        """The values of all ranks, one rank after the other (on the CPU with several ranks)."""
        return values_N if self.size == 1 else torch.cat(self._gather(values_N.cpu()))

    def same(self, value: T) -> T:
        """Rank 0's value on every rank."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def total(self, *numbers: float) -> tuple[float, ...]:
        """Sums over ranks."""
        if self.size == 1:
            return numbers
        return tuple(sum(column) for column in zip(*self._gather(numbers), strict=True))

    def sum_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Add up the gradients of all ranks. A parameter that has one on no rank keeps None, as with one rank."""
        if self.size == 1:
            return
        have = [any(column) for column in zip(*self._gather([p.grad is not None for p in parameters]), strict=True)]
        for parameter, used in zip(parameters, have, strict=True):
            if used:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                dist.all_reduce(parameter.grad)

    def _gather(self, value: T) -> list[T]:
        boxes = [value] * self.size
        dist.all_gather_object(boxes, value)
        return boxes


SOLO = Team()


def join_team(rank: int, size: int, address: str, device: str) -> Team:
    """Meet the other ranks at `address` (tcp://host:port of rank 0) and return this process's place."""
    backend = "nccl" if device == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=address, rank=rank, world_size=size, timeout=TIMEOUT)
    return Team(rank, size)
