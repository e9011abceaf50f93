"""Comparators that punish a high score instead of routing it: a lower reward, or a lower advantage.

Invariant: they read what the gate reads, scores and the pairs' band, and no audit; where the gate routes, nothing changes.
Sources: a probe's verdict as a penalty on the reward is the plain alternative to routing; "Advantage Modification" (Wu and
Tang 2026, arXiv 2604.01476) puts concept scores into GRPO's advantages. Its formula here is our own.
Shapes: G rollouts of a batch.
"""

import torch
from torch import Tensor

from learner.gate import label
from learner.objective import Advantages, advantages
from learner.router import Router
from vgrout.config import ObjectiveConfig, PairsGate
from vgrout.records import GateLabel


def learned_from(
    router: Router, objective: ObjectiveConfig, rewards: list[float], groups: list[int], labels: list[GateLabel], score_G: Tensor
) -> Advantages:
    """The advantages of a batch, with the penalty of the gate's `act`.

    `reward`: a rollout above the band is paid `weight` less. `advantage`: `weight` times the score, standardised in its group,
    is subtracted, in groups whose rewards vary.
    """
    gate, kind, divide = router.config, objective.baseline, objective.normalise
    if not isinstance(gate, PairsGate) or gate.act == "route":
        return advantages(rewards, groups, labels, kind, divide)
    if gate.act == "reward":
        assert router.refresh is not None
        would = label(score_G, router.refresh.band)  # what the gate would say if it routed
        rewards = [r - gate.weight if x is GateLabel.HACK else r for r, x in zip(rewards, would, strict=True)]
        return advantages(rewards, groups, labels, kind, divide)
    gained = advantages(rewards, groups, labels, kind, divide)
    standard_G = torch.zeros_like(score_G)
    for group in set(groups):
        rows = [i for i, g in enumerate(groups) if g == group]
        if len(rows) > 1:
            standard_G[rows] = (score_G[rows] - score_G[rows].mean()) / (score_G[rows].std() + 1e-6)
    change_G = torch.where(gained.skipped_G, 0.0, gate.weight * standard_G)
    return Advantages(gained.advantage_G - change_G, gained.skipped_G)
