"""The gradient of the objective over one batch: one forward and one backward pass per micro-batch of equally labelled rollouts.

Invariant: gradients are sums over rollouts, so neither the split into micro-batches nor the number of learners changes them
but for the order of float additions.
Shapes: C completion tokens of a micro-batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from learner import side_by_side
from learner.data_parallel import Team
from learner.density import Density
from learner.fixed_terms import FixedTerms
from learner.lora2r import ROUTED, Lora2r
from learner.objective import Advantages, TokenTerms, loss
from learner.packing import logprobs_C, pack
from learner.work import micro_batches, units
from vgrout.config import Config
from vgrout.records import GateLabel, Sample


@dataclass(frozen=True)
class ObjectiveSums:
    """Loss and number of clipped tokens, summed over the whole batch."""

    loss: float = 0.0
    clipped: float = 0.0


def accumulate_gradients(
    model: PreTrainedModel, lora: Lora2r, config: Config, samples: list[Sample], labels: list[GateLabel], gained: Advantages,
    fixed: FixedTerms, team: Team,
) -> ObjectiveSums:  # fmt: skip
    """Add the objective's gradient over all samples to the adapter, the same on every learner of the team."""
    objective, budget = config.objective, config.train.micro_tokens
    tokens = sum(len(s.completion_ids) for s in samples)
    denominator = tokens if objective.aggregate == "tokens" else len(samples) * config.rollout.max_new_tokens

    def per_token(value_G: Tensor, rows: list[int], lengths: list[int]) -> Tensor:
        return value_G[rows].repeat_interleave(torch.tensor(lengths)).to(lora.device)

    parameters, together = lora.parameters(), side_by_side.together()

    def computed(batch: tuple[GateLabel, list[int]]) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """(loss, clipped tokens, gradients in parameter order) of a micro-batch; alone it adds its gradients itself."""
        label, rows = batch
        packing = pack([samples[i] for i in rows], lora.device, share=True)
        with lora.policy(ROUTED[label]):
            logprob_C = logprobs_C(model, packing, Density.of(config.rollout))
        for row, now_N in zip(rows, logprob_C.detach().split(packing.lengths), strict=True):
            fixed.note_training(row, samples[row], now_N)

        def joined(per_row: Mapping[int, Tensor | None]) -> Tensor:
            known = [value for row in rows if (value := per_row[row]) is not None]
            return torch.cat(known).to(lora.device)

        terms = TokenTerms(
            logprob_C=logprob_C,
            old_C=joined(fixed.old),
            reference_C=joined(fixed.reference) if objective.kl else None,
            weight_C=joined(fixed.weight),
            advantage_C=per_token(gained.advantage_G, rows, packing.lengths),
            kl_C=per_token(~gained.skipped_G, rows, packing.lengths) if objective.kl_on == "varied" else None,
        )
        value, clipped = loss(terms, clip=objective.clip, kl=objective.kl, denominator=denominator)
        if together:
            return value.detach(), clipped, torch.autograd.grad(value, parameters)
        value.backward()
        return value.detach(), clipped, ()

    loss_sum = torch.zeros((), device=lora.device, dtype=torch.float64)
    clipped_sum = torch.zeros((), device=lora.device, dtype=torch.long)
    batches = micro_batches(team.mine(units(samples, labels, budget)), budget)
    for value, clipped, gradients in side_by_side.in_order(computed, batches):
        loss_sum += value
        clipped_sum += clipped
        for parameter, gradient in zip(parameters, gradients, strict=False):
            parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)
    team.sum_gradients(parameters)
    return ObjectiveSums(*team.total(loss_sum.item(), clipped_sum.item()))
