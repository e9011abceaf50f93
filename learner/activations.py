"""Activations instead of gradients: per rollout, what goes through each deployed bottleneck, averaged over the completion.

Invariant: it has the shape of a c-probe, so directions, bands and placebos are made of it in the same way; rollouts of a batch
do not see each other. With A0 random it is a random projection of the input of every adapted module.
Source of the idea: directions in activation space from contrastive pairs (Zou et al. 2023, "Representation Engineering",
arXiv 2310.01405). The position is that of the token itself, as its module sees it.
Shapes: G rollouts, N tokens of the packed row, M modules, R rank of one block, I input features, C completion tokens.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from learner.lora2r import Lora2r, Lora2rLinear, Policy
from learner.model import Tokens, micro_batches
from learner.packing import hidden_CD, pack


def activations(model: PreTrainedModel, lora: Lora2r, items: Sequence[Tokens], *, initial: bool, budget: int) -> Tensor:
    """act_GMR (float32, CPU): mean of `A[:r] x` over each item's completion tokens.

    `initial`: with the adapter off and A0, rather than with the current deployed block; the quarantine is absent in both.
    """
    act_GMR = torch.empty(len(items), len(lora.modules), lora.rank)
    for rows in micro_batches(items, budget):
        packing = pack([items[i] for i in rows], lora.device, share=False)
        assert packing.rollout_GN is not None
        mean_GN = torch.zeros_like(packing.rollout_GN)
        mean_GN[:, packing.predictor_C + 1] = packing.rollout_GN[:, packing.predictor_C + 1]
        mean_GN /= mean_GN.sum(1, keepdim=True)
        with torch.no_grad(), _seen(lora, mean_GN, initial) as found, lora.policy(Policy.BASE if initial else Policy.DEPLOY):
            hidden_CD(model, packing)
        act_GMR[rows] = torch.stack(found, dim=1).float().cpu()
    return act_GMR


@contextmanager
def _seen(lora: Lora2r, mean_GN: Tensor, initial: bool) -> Iterator[list[Tensor]]:
    """Inside the block every module's forward pass enters its mean bottleneck values, [G, R] in module order, into the list."""
    found: list[Tensor] = [torch.empty(0)] * len(lora.modules)

    def enter(place: int, linear: Lora2rLinear, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        a_SI = linear.a0_SI if initial else linear.a_SI.detach()
        found[place] = (mean_GN @ inputs[0][0].to(mean_GN.dtype)) @ a_SI[: lora.rank].T

    modules = enumerate(lora.modules.values())
    handles = [linear.register_forward_pre_hook(partial(enter, place, linear)) for place, linear in modules]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
