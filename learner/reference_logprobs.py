"""What the objective holds fixed during an update: old and reference log-probabilities, and importance weights.

Invariant: the behaviour policy of a rollout is the one that sampled it (both blocks, or the deployed block alone),
whatever label the gate gives it. A teacher's rollout has no log-probabilities of its own: its importance weight is 1, as if
the learner had written it, so its loss is its advantage times log-likelihood, clipped from where the update starts. That is
imitation in proportion to the reward, no unbiased policy gradient (the seed of this project joins its cached teachers to the
same loss at ratio 1; LUFFY, Yan et al. 2025, arXiv 2504.14945, weighs such tokens by pi_theta instead).
Sources: truncated importance sampling between engine and learner (Yao et al. 2025, "Your Efficient RL Framework Secretly
Brings You Off-Policy RL Training"); k3 (Schulman 2020).
Shapes: G rollouts, T tokens, N completion tokens of the batch.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from learner.data_parallel import SOLO, Team
from learner.gate import masks
from learner.lora2r import Lora2r, Policy
from learner.model import PaddedTokens, collate, gather, logprobs_GT, micro_batches
from vgrout.config import Config
from vgrout.lora_ranks import BLOCKS
from vgrout.records import Author, GateLabel, Sample, Sampling


@dataclass(frozen=True)
class FixedTerms:
    """What the objective holds fixed during an update: per rollout index one [completion length] tensor, this rank's only.

    `old` is empty with one step per batch, `reference` without KL.
    """

    old: dict[int, Tensor]  # log-probabilities under the gate's masks before the first step
    reference: dict[int, Tensor]  # log-probabilities of the base
    weight: dict[int, Tensor]  # truncated importance weights of the sampling policy, learner over engine
    metrics: dict[str, float]  # of all ranks


def compute_fixed_terms(
    model: PreTrainedModel, lora: Lora2r, config: Config, samples: list[Sample], labels: list[GateLabel], team: Team = SOLO
) -> FixedTerms:
    """Run the forward passes that the objective of this configuration needs, on this rank's samples."""
    old, reference, weight = {}, {}, {}
    gaps = [torch.empty(0, device=lora.device)]  # a rank may have no rollout
    kinds = list(zip((s.sampling for s in samples), masks(labels)[0].tolist(), masks(labels)[1].tolist(), strict=True))
    for rows in micro_batches(samples, config.train.micro_tokens, kinds, rows=team.rows(samples)):
        part = [samples[i] for i in rows]
        batch = collate(part, lora.device)

        def values(batch: PaddedTokens = batch) -> list[Tensor]:
            return gather(batch, logprobs_GT(model, batch, config.rollout.temperature))

        with torch.no_grad():
            with lora.routed(*sampling_masks(part, config.lora.deployed_blocks, lora.device)):
                behaviour = values()
            if config.objective.epochs > 1:
                with lora.routed(*masks([labels[i] for i in rows], lora.device)):
                    old.update(zip(rows, values(), strict=True))
            if config.objective.kl:
                with lora.policy(Policy.BASE):
                    reference.update(zip(rows, values(), strict=True))
        for row, sample, now_N in zip(rows, part, behaviour, strict=True):
            weight[row], gap_N = importance(now_N, sample, config.objective.importance_cap)
            gaps.append(gap_N)
    return FixedTerms(old, reference, weight, _mismatch(team.concat(torch.cat(gaps)), config.objective.importance_cap))


def sampling_masks(samples: list[Sample], deployed_blocks: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """(m_G, d_G) that make the model compute the policy that wrote each sample: both blocks, or the deployed one alone."""
    m_G = torch.tensor([deployed_blocks == BLOCKS or s.sampling is Sampling.TRAIN for s in samples], device=device)
    return m_G, torch.zeros_like(m_G)


def importance(now_N: Tensor, sample: Sample, cap: float) -> tuple[Tensor, Tensor]:
    """(weight_N, gap_N) of one sample: the learner's probability over the engine's, truncated at `cap`, and its logarithm.

    A teacher's sample weighs 1 and has an empty gap.
    """
    if sample.author is Author.TEACHER:
        return torch.ones_like(now_N), now_N[:0]
    gap_N = now_N - torch.tensor(sample.logprobs, device=now_N.device)
    return torch.exp(gap_N).clamp(max=cap), gap_N


def _mismatch(gap_N: Tensor, cap: float) -> dict[str, float]:
    """Engine against learner on the sampled tokens: k3 estimate of KL(engine || learner), largest gap, capped share."""
    return {
        "mismatch_kl": (torch.expm1(gap_N.double()) - gap_N.double()).mean().item(),
        "mismatch_max": gap_N.abs().max().item(),
        "importance_capped": (torch.exp(gap_N) > cap).float().mean().item(),
    }
