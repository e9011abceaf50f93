"""AdamW on the adapter, with warm-up, cosine decay, and weight decay towards the initial A0 and B0.

Invariant: decay pulls the adapter's *contribution* to zero, never A and B themselves, so that B0 A0 stays subtracted.
Source: decoupled weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101).
"""

import math
from dataclasses import dataclass

import torch

from learner.lora2r import Lora2r
from vgrout.config import OptimConfig


def learning_rate(config: OptimConfig, step: int, steps: int) -> float:
    """Learning rate of step `step` (from 0) of `steps`: linear warm-up from lr/warmup, then cosine to 0."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    share = (step - config.warmup) / max(1, steps - config.warmup)
    return config.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


@dataclass(frozen=True)
class Step:
    """What one optimizer step did. The norms are before clipping; of the squared total, each block has its part."""

    lr: float
    grad_norm: float = 0.0
    deployed: float = 0.0
    quarantine: float = 0.0

    @property
    def skipped(self) -> bool:
        """Whether the gradient was not finite, so that nothing moved."""
        return not math.isfinite(self.grad_norm)

    @property
    def quarantine_share(self) -> float:
        """The quarantine's part of the squared norm."""
        total = self.deployed**2 + self.quarantine**2
        return self.quarantine**2 / total if total else 0.0


class Optimizer:
    """torch's AdamW over `Lora2r.parameters()` plus the pull towards (A0, B0)."""

    def __init__(self, lora: Lora2r, config: OptimConfig) -> None:
        self.lora, self.config = lora, config
        first, second = config.betas
        self.adam = torch.optim.AdamW(lora.parameters(), lr=config.lr, betas=(first, second), weight_decay=0.0)

    def step(self, lr: float) -> Step:
        """Clip, decay, step, clear gradients. A gradient whose whole norm is 0 changes nothing; where only one block's is 0, that
        block still moves by its momentum. A gradient that is not finite changes nothing either: the step is skipped."""
        deployed, quarantine = self._norms()
        norm = self._clip()
        if norm == 0 or not math.isfinite(norm):  # clipped, an infinite gradient is NaN, and so would every weight be
            self.adam.zero_grad(set_to_none=True)
            return Step(lr, norm, deployed, quarantine)
        for group in self.adam.param_groups:
            group["lr"] = lr
        if self.config.weight_decay:
            with torch.no_grad():
                for m in self.lora.modules.values():
                    m.a_SI.lerp_(m.a0_SI, lr * self.config.weight_decay)
                    m.b_OS.lerp_(m.b0_OS, lr * self.config.weight_decay)
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        return Step(lr, norm, deployed, quarantine)

    def _clip(self) -> float:
        """Scale the gradient down to its bound, all of it or each block by itself; returns the norm over both before."""
        bound = self.config.grad_clip
        if self.config.clip_by == "adapter":
            return torch.nn.utils.clip_grad_norm_(self.lora.parameters(), bound).item()
        rank, square = self.lora.rank, 0.0
        grads = [(m.a_SI.grad, m.b_OS.grad) for m in self.lora.modules.values()]
        for block in (slice(None, rank), slice(rank, None)):  # deployed, quarantine
            parts = [part for a, b in grads if a is not None and b is not None for part in (a[block], b[:, block])]
            norm = torch.nn.utils.get_total_norm(parts).item()
            square += norm**2
            for part in parts:
                part.mul_(min(1.0, bound / (norm + 1e-6)))  # 1e-6 as in torch's own clipping
        return math.sqrt(square)

    def _norms(self) -> tuple[float, float]:
        """Norms of the deployed block's and of the quarantine's part of the gradient about to be applied."""
        squares, r = [], self.lora.rank  # read at once at the end: a GPU is waited for once, not per module
        for module in self.lora.modules.values():
            if module.a_SI.grad is None or module.b_OS.grad is None:
                continue
            a, b = module.a_SI.grad, module.b_OS.grad
            squares.append(a[:r].square().sum() + b[:, :r].square().sum())
            squares.append(a[r:].square().sum() + b[:, r:].square().sum())
        sums = torch.stack(squares).tolist() if squares else []
        return math.sqrt(sum(sums[::2])), math.sqrt(sum(sums[1::2]))
