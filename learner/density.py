"""The density that a completion token is drawn from, and its log-probabilities at the learner.

Invariant: temperature first, then the `top_k` most likely tokens, then the smallest set of these that holds a share `top_p` of
their probability, as vLLM and transformers do it. A token that was sampled is always kept, so that a set whose edge differs
between engine and learner by a rounding error gives no infinite ratio.
A known limit: tokens as likely as the last one that is kept are all kept here. vLLM's kernel for CUDA keeps exactly `top_k`, and
logits in bfloat16 tie often: at k = 20 about half of the positions, by .009 nats on average, and always so that the learner's
probability is the smaller one.
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

    @property
    def truncates(self) -> bool:
        """Whether some tokens are left out, so that their density is 0."""
        return bool(self.top_k) or self.top_p < 1

    def logprobs(self, logits_NV: Tensor, ids_N: Tensor) -> Tensor:
        """log p of each id, [N], float32. A gradient flows through the tokens that are kept; which these are is a constant."""
        scaled_NV = logits_NV.float() / self.temperature
        if self.truncates:
            scaled_NV = scaled_NV.masked_fill(self._left_out(scaled_NV.detach(), ids_N), -torch.inf)
        return torch.log_softmax(scaled_NV, dim=-1).gather(1, ids_N[:, None]).squeeze(1)

    def _left_out(self, scaled_NV: Tensor, ids_N: Tensor) -> Tensor:
        """The mask is made by value: under deterministic CUDA a scatter of a tensor is slow and takes much memory."""
        out_NV = torch.zeros_like(scaled_NV, dtype=torch.bool)
        if 0 < self.top_k < scaled_NV.shape[1]:
            out_NV = scaled_NV < scaled_NV.topk(self.top_k).values[:, -1:]
        if self.top_p < 1:
            sorted_NV = scaled_NV.masked_fill(out_NV, -torch.inf).sort(dim=-1).values
            small_NV = sorted_NV.softmax(-1).cumsum(-1) <= 1 - self.top_p
            least_N = small_NV[:, :-1].sum(-1, keepdim=True)  # the place of the least likely token that is kept
            out_NV = scaled_NV < sorted_NV.gather(1, least_N)
        return out_NV.scatter_(1, ids_N[:, None], False)


PLAIN = Density()
