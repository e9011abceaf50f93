"""What is measured of a batch before its first step, without gradient: old, reference and sampling log-probabilities.

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
from typing import Any

import torch
from torch import Tensor

from learner.data_parallel import SOLO, Team
from learner.lora2r import Lora2r, Policy
from learner.model import collate, gather, logprobs_GT, micro_batches
from vgrout.config import Config
from vgrout.records import Author, Sample, Sampling


@dataclass(frozen=True)
class Before:
    """Per rollout index one [completion length] tensor. `old` is empty with one step per batch, `reference` without KL."""

    old: dict[int, Tensor]
    reference: dict[int, Tensor]
    weight: dict[int, Tensor]
    metrics: dict[str, float]


def measure(
    model: Any, lora: Lora2r, config: Config, samples: list[Sample], m_G: Tensor, d_G: Tensor, team: Team = SOLO
) -> Before:
    """Run the forward passes that the objective of this configuration needs, on this rank's samples; metrics are of all."""
    device, temperature = lora.device, config.rollout.temperature
    old: dict[int, Tensor] = {}
    reference: dict[int, Tensor] = {}
    weight: dict[int, Tensor] = {}
    gaps: list[Tensor] = [torch.empty(0, device=device)]  # a rank may have no rollout
    kinds = list(zip((s.sampling for s in samples), m_G.tolist(), d_G.tolist(), strict=True))
    for rows in micro_batches(samples, config.train.micro_tokens, kinds):
        batch = collate([samples[i] for i in rows], device)

        def store(into: dict[int, Tensor], values_GT: Tensor, rows: list[int] = rows, batch: Any = batch) -> None:
            into.update(zip(rows, gather(batch, values_GT), strict=True))

        with torch.no_grad():
            both = config.lora.deploy == "both"
            wrote_G = torch.tensor([both or samples[i].sampling is Sampling.TRAIN for i in rows], device=device)
            with lora.routed(wrote_G, torch.zeros_like(wrote_G)):
                now_GT = logprobs_GT(model, batch, temperature)
            if config.objective.epochs > 1:
                with lora.routed(m_G[rows].to(device), d_G[rows].to(device)):
                    store(old, logprobs_GT(model, batch, temperature))
            if config.objective.kl:
                with lora.policy(Policy.BASE):
                    store(reference, logprobs_GT(model, batch, temperature))
        now_N = now_GT[batch.completion_GT]
        student_N = torch.tensor([samples[i].author is Author.STUDENT for i in rows for _ in samples[i].completion_ids])
        engine_N = now_N.clone()
        engine_N[student_N.to(device)] = torch.tensor([p for i in rows for p in samples[i].logprobs], device=device)
        gap_N = now_N - engine_N  # 0 for a teacher's tokens: weight 1
        gaps.append(gap_N[student_N.to(device)])
        weight_N = torch.exp(gap_N).clamp(max=config.objective.importance_cap)
        weight.update(zip(rows, weight_N.split(batch.lengths_G.tolist()), strict=True))
    return Before(old, reference, weight, _mismatch(team.concat(torch.cat(gaps)), config.objective.importance_cap))


def _mismatch(gap_N: Tensor, cap: float) -> dict[str, float]:
    """Engine against learner on the sampled tokens: k3 estimate of KL(engine || learner), largest gap, capped share."""
    return {
        "mismatch_kl": (torch.expm1(gap_N.double()) - gap_N.double()).mean().item(),
        "mismatch_max": gap_N.abs().max().item(),
        "importance_capped": (torch.exp(gap_N) > cap).float().mean().item(),
    }
