"""Data parallelism of the learner: every rank gets the whole batch, works on its rollouts, and ends with the same adapter.

Invariants: with one rank nothing here computes anything, so the bytes are those of a learner without it; with several,
labels, advantages and v_grad are the same on all ranks, gradients are summed over ranks before anything reads them, and
the adapters of all ranks stay bit-identical. Knows torch.distributed (NCCL on GPUs, gloo on CPUs), no ray.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from learner.model import Tokens

T = TypeVar("T")
Item = TypeVar("Item", bound=Tokens)
TIMEOUT = timedelta(minutes=10)  # a rank that died ends the others with an error, not with a hang


@dataclass(frozen=True)
class Team:
    """This process's place among `size` learners."""

    rank: int = 0
    size: int = 1

    def rows(self, items: Sequence[Tokens]) -> list[int]:
        """Indices of this rank's rollouts, ascending: every size-th by length, so that ranks work equally long."""
        if self.size == 1:
            return list(range(len(items)))
        order = sorted(range(len(items)), key=lambda i: len(items[i].prompt_ids) + len(items[i].completion_ids))
        return sorted(order[self.rank :: self.size])

    def assemble(self, items: Sequence[Item], work: Callable[[list[Item]], Tensor]) -> Tensor:
        """`work` over all items, one number per item: each rank does its rows, all get the whole, in order."""
        if self.size == 1:
            return work(list(items))
        rows = self.rows(items)
        values_G = work([items[i] for i in rows]) if rows else torch.empty(0)
        whole_G = torch.empty(len(items))
        for their_rows, their_values in self._gather((rows, values_G)):
            whole_G[their_rows] = their_values
        return whole_G

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
