"""c-probe: per rollout, the gradient of its mean completion NLL with respect to an all-ones gate on the deployed bottleneck.

Invariant: one backward over a batch gives every rollout the gradient that it would have alone, since each has its own
gate row and rollouts do not see each other. Nothing that is trained receives a gradient.
With `share` the gate acts at the completion's tokens alone: the sum over t leaves the prompt out. A prompt's tokens see no
completion, so their gradient reaches no gate that counts, and the rollouts of a group can share them.
Source: docs/method.md, "Score"; the gate is the alpha-probe of a rank-r bottleneck, d/dc_r = sum_t h_tr (B^T dL/dy_t)_r.
Shapes: G rollouts, T tokens, M modules, R rank of one block, C completion tokens of all rollouts.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from learner import side_by_side
from learner.density import PLAIN, Density
from learner.lora2r import Lora2r
from learner.model import Tokens, micro_batches
from learner.packing import Packing, head_logprobs_C, hidden_CD, pack
from learner.work import chunks


def probe(
    model: PreTrainedModel, lora: Lora2r, items: Sequence[Tokens], *, initial: bool, budget: int, share: bool = False
) -> Tensor:
    """Return cgrad_GMR (float32, CPU) for `items`, in micro-batches of at most `budget` padded tokens.

    `initial`: at the adapter's initial values rather than at the current deployed block; the quarantine is absent in both.
    `share`: at the completion's tokens alone; rollouts of equal prompts that follow one another have it once.
    """
    cgrad_GMR = torch.empty(len(items), len(lora.modules), lora.rank)
    runs = chunks(items, budget) if share else micro_batches(items, budget)

    def cgrad_of(rows: list[int]) -> Tensor:
        packing = pack([items[i] for i in rows], lora.device, share=share)
        return probe_packed(model, lora, packing, initial=initial)[0]

    for rows, found in zip(runs, side_by_side.in_order(cgrad_of, runs), strict=True):
        cgrad_GMR[rows] = found
    return cgrad_GMR


def probe_packed(
    model: PreTrainedModel, lora: Lora2r, packing: Packing, *, initial: bool, density: Density = PLAIN
) -> tuple[Tensor, Tensor]:
    """(cgrad_GMR, logprob_C) of a packed row, both float32 on the CPU; at all tokens where its prompts are not shared.

    logprob_C is under `density`, from the same forward pass; the probe itself is at temperature 1, of all tokens.
    """
    with lora.probed(packing.rollout_GN, initial=initial) as gates_GR, torch.enable_grad():
        hidden = hidden_CD(model, packing)
        logprob_C = head_logprobs_C(model, packing, hidden, PLAIN)
        mean_nll = -torch.stack([part.mean() for part in logprob_C.split(packing.lengths)]).sum()
        grads = torch.autograd.grad(mean_nll, gates_GR)
    cgrad_GMR = torch.stack(grads, dim=1).cpu()
    if density == PLAIN:
        return cgrad_GMR, logprob_C.detach().cpu()
    with torch.no_grad():
        return cgrad_GMR, head_logprobs_C(model, packing, hidden.detach(), density).cpu()
