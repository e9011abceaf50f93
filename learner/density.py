"""The density that a completion token is drawn from, and its log-probabilities at the learner.

Invariant: temperature first, then the `top_k` most likely tokens, then the smallest set of these that holds a share `top_p` of
their probability, as vLLM and transformers do it. A token that was sampled is always kept, so that a set whose edge differs
between engine and learner by a rounding error gives no infinite ratio.
Shapes: N positions, V vocabulary.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vgrout.config_sections import RolloutConfig


@dataclass(frozen=True)
class Density:
    """`top_k` 0 and `top_p` 1 leave no token out."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    @staticmethod
    def of(rollout: RolloutConfig) -> "Density":
        """What a run samples from."""
        return Density(rollout.temperature, rollout.top_k, rollout.top_p)

    def logprobs(self, logits_NV: Tensor, ids_N: Tensor) -> Tensor:
        """log p of each id, [N], float32. A gradient flows through the tokens that are kept; which these are is a constant."""
        scaled_NV = logits_NV.float() / self.temperature
        if self.top_k or self.top_p < 1:
            scaled_NV = scaled_NV.masked_fill(~self._kept(scaled_NV.detach(), ids_N), -torch.inf)
        return torch.log_softmax(scaled_NV, dim=-1).gather(1, ids_N[:, None]).squeeze(1)

    def _kept(self, scaled_NV: Tensor, ids_N: Tensor) -> Tensor:
        sorted_NV, order_NV = scaled_NV.sort(dim=-1)
        out_NV = torch.zeros_like(sorted_NV, dtype=torch.bool)
        if 0 < self.top_k < sorted_NV.shape[1]:
            out_NV = sorted_NV < sorted_NV[:, -self.top_k, None]
        if self.top_p < 1:
            share_NV = sorted_NV.masked_fill(out_NV, -torch.inf).softmax(-1).cumsum(-1)
            out_NV = out_NV | (share_NV <= 1 - self.top_p)
            out_NV[:, -1] = False
        kept_NV = torch.empty_like(out_NV).scatter(1, order_NV, ~out_NV)
        return kept_NV.scatter(1, ids_N[:, None], True)


PLAIN = Density()
