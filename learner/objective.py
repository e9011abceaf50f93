"""The Dr.GRPO objective: advantages from a baseline, PPO clip, truncated importance weights, k3 KL, fixed denominator.

Invariant: the token sum is divided by a constant (rollouts x max_new_tokens), never by a length, so that neither long
nor short rollouts weigh more per token. Sources: Dr.GRPO (Liu et al. 2025, arXiv 2503.20783), PPO (Schulman et al.
2017, arXiv 1707.06347), k3 (Schulman, "Approximating KL divergence", 2020).
Shapes: G rollouts of a batch, C completion tokens of some of them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vgrout.records import GateLabel


@dataclass(frozen=True)
class Advantages:
    """advantage_G, and which rollouts sit in a group whose rewards do not vary (skipped: they teach nothing)."""

    advantage_G: Tensor
    skipped_G: Tensor


SIGMA_FLOOR = 1e-4  # added to a group's standard deviation, as TRL does


def advantages(
    rewards: list[float], groups: list[int], labels: list[GateLabel], baseline: str, normalise: str = "none"
) -> Advantages:
    """reward - baseline, group by group; with `sigma` over the group's standard deviation (of a sample, as in GRPO).

    `group`: the mean of the group. `unrouted`: a rollout that trains the deployed block (clean or mid) is compared with
    the mean of its group without the routed (hack) rollouts; a routed one with the mean of the whole group. Routed hacks
    else raise the mean and push the deployed block away from honest failures.
    """
    reward_G = torch.tensor(rewards)
    advantage_G, skipped_G = torch.zeros(len(rewards)), torch.zeros(len(rewards), dtype=torch.bool)
    for group in set(groups):
        rows = [i for i, g in enumerate(groups) if g == group]
        kept = [i for i in rows if labels[i] is not GateLabel.HACK]
        if reward_G[rows].max() == reward_G[rows].min():
            skipped_G[rows] = True
            continue
        advantage_G[rows] = reward_G[rows] - reward_G[rows].mean()
        if baseline == "unrouted" and kept:
            advantage_G[kept] = reward_G[kept] - reward_G[kept].mean()
        if normalise == "sigma":
            advantage_G[rows] /= reward_G[rows].std() + SIGMA_FLOOR
    return Advantages(advantage_G, skipped_G)


def above_mean(rewards: list[float], groups: list[int]) -> list[bool]:
    """Whether each reward is above the mean of its group."""
    sums: dict[int, list[float]] = {}
    for reward, group in zip(rewards, groups, strict=True):
        sums.setdefault(group, []).append(reward)
    return [reward > sum(sums[group]) / len(sums[group]) for reward, group in zip(rewards, groups, strict=True)]


@dataclass(frozen=True)
class TokenTerms:
    """What the objective reads of each completion token."""

    logprob_C: Tensor  # under the policy that trains, with gradient
    old_C: Tensor  # the same before the first step on this batch, without gradient
    reference_C: Tensor | None  # adapter off; None without KL
    weight_C: Tensor  # truncated importance weight of the policy that sampled it, without gradient
    advantage_C: Tensor  # its rollout's
    kl_C: Tensor | None = None  # weight of its KL term; None: `kl` for all


def loss(terms: TokenTerms, *, clip: float, kl: float, denominator: float) -> tuple[Tensor, Tensor]:
    """(loss, number of clipped tokens). `loss` is a sum over tokens divided by `denominator`."""
    ratio_C = torch.exp(terms.logprob_C - terms.old_C)
    plain_C = ratio_C * terms.advantage_C
    clipped_C = ratio_C.clamp(1 - clip, 1 + clip) * terms.advantage_C
    per_token_C = -torch.minimum(plain_C, clipped_C) * terms.weight_C
    if kl and terms.reference_C is not None:
        log_ratio_C = terms.reference_C - terms.logprob_C
        weight = kl if terms.kl_C is None else kl * terms.kl_C
        per_token_C = per_token_C + weight * (torch.exp(log_ratio_C) - log_ratio_C - 1)
    return per_token_C.sum() / denominator, (plain_C > clipped_C).sum()
