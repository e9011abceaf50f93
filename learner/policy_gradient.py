"""The gradient of the objective over one batch: a forward and a backward pass per micro-batch, each rollout under its masks.

Invariant: gradients are sums over rollouts, so neither the split into micro-batches nor the number of learners changes them
but for the order of float additions.
Shapes: G rollouts of a micro-batch, T tokens.
"""

from dataclasses import dataclass

from torch import Tensor
from transformers import PreTrainedModel

from learner.data_parallel import Team
from learner.gate import masks
from learner.lora2r import Lora2r
from learner.model import collate, logprobs_GT, micro_batches, scatter
from learner.objective import TokenTerms, loss
from learner.reference_logprobs import FixedTerms
from vgrout.config import Config
from vgrout.records import GateLabel, Sample


@dataclass(frozen=True)
class ObjectiveSums:
    """Loss and number of clipped tokens, summed over the whole batch."""

    loss: float = 0.0
    clipped: float = 0.0


def accumulate_gradients(
    model: PreTrainedModel,
    lora: Lora2r,
    config: Config,
    samples: list[Sample],
    labels: list[GateLabel],
    advantage_G: Tensor,
    fixed: FixedTerms,
    team: Team,
) -> ObjectiveSums:
    """Add the objective's gradient over all samples to the adapter, the same on every learner of the team."""
    denominator = len(samples) * config.rollout.max_new_tokens
    loss_sum, clipped_sum = 0.0, 0.0
    for rows in micro_batches(samples, config.train.micro_tokens, labels, rows=team.rows(samples)):
        batch = collate([samples[i] for i in rows], lora.device)
        with lora.routed(*masks([labels[i] for i in rows], lora.device)):
            logprob_GT = logprobs_GT(model, batch, config.rollout.temperature)
        terms = TokenTerms(
            logprob_GT=logprob_GT,
            # With one step per batch the policy has not moved yet: the ratio is 1 and only its gradient counts.
            old_GT=scatter(batch, [fixed.old[i] for i in rows]) if fixed.old else logprob_GT.detach(),
            reference_GT=scatter(batch, [fixed.reference[i] for i in rows]) if fixed.reference else None,
            weight_GT=scatter(batch, [fixed.weight[i] for i in rows]),
            mask_GT=batch.completion_GT,
        )
        value, clipped = loss(
            terms, advantage_G[rows].to(lora.device), clip=config.objective.clip, kl=config.objective.kl, denominator=denominator
        )
        value.backward()
        loss_sum, clipped_sum = loss_sum + value.item(), clipped_sum + int(clipped)
    team.sum_gradients(lora.parameters())
    return ObjectiveSums(*team.total(loss_sum, clipped_sum))
