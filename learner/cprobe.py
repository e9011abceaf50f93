"""c-probe: per rollout, the gradient of its mean completion NLL with respect to an all-ones gate on the deployed bottleneck.

Invariant: one backward over a batch gives every rollout the gradient that it would have alone, since each has its own
gate row and rollouts do not see each other. Nothing that is trained receives a gradient.
Source: docs/method.md, "Score"; the gate is the alpha-probe of a rank-r bottleneck, d/dc_r = sum_t h_tr (B^T dL/dy_t)_r.
Shapes: G rollouts, T tokens, M modules, R rank of one block.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from learner.lora2r import Lora2r
from learner.model import Tokens, collate, logprobs_GT, micro_batches


def probe(model: PreTrainedModel, lora: Lora2r, items: Sequence[Tokens], *, initial: bool, budget: int) -> Tensor:
    """Return cgrad_GMR (float32, CPU) for `items`, in micro-batches of at most `budget` padded tokens.

    `initial`: at the adapter's initial values rather than at the current deployed block; the quarantine is absent in both.
    """
    cgrad_GMR = torch.empty(len(items), len(lora.modules), lora.rank)
    for rows in micro_batches(items, budget):
        batch = collate([items[i] for i in rows], lora.device)
        with lora.probed(len(rows), initial=initial) as gates_GR, torch.enable_grad():
            logprob_GT = logprobs_GT(model, batch)
            mean_nll_G = -logprob_GT.sum(1) / batch.lengths_G
            grads = torch.autograd.grad(mean_nll_G.sum(), gates_GR)
        cgrad_GMR[rows] = torch.stack(grads, dim=1).cpu()
    return cgrad_GMR
