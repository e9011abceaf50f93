"""What the objective holds fixed during an update: old and reference log-probabilities, and importance weights.

Invariant: the behaviour policy of a rollout is the one that sampled it (both blocks, or the deployed block alone),
whatever label the gate gives it. Where that policy computes the same function as the one that trains, the first training pass
itself gives these numbers and no other pass is made.
A teacher's rollout has no log-probabilities of its own: its importance weight is 1, as if the learner had written it, so its
loss is its advantage times log-likelihood, clipped from where the update starts. That is imitation in proportion to the
reward, no unbiased policy gradient (the published vGROUT code joins its cached teachers to the same loss at ratio 1; LUFFY,
Yan et al. 2025, arXiv 2504.14945, weighs such tokens by pi_theta instead). A rollout that is trained on behind another prompt
than it was sampled from (rollout.trained_with) has none either, and is treated alike.
Sources: truncated importance sampling between engine and learner (Yao et al. 2025, "Your Efficient RL Framework Secretly
Brings You Off-Policy RL Training"); k3 (Schulman 2020).
Shapes: N completion tokens of one rollout.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import PreTrainedModel

from learner import side_by_side
from learner.ahead import FromTokens
from learner.data_parallel import Team
from learner.density import Density
from learner.lora2r import ROUTED, Lora2r, Policy
from learner.packing import logprobs_C, pack
from learner.work import micro_batches, units
from vgrout.config import Config
from vgrout.lora_ranks import BLOCKS
from vgrout.records import GateLabel, Sample, Sampling

ALONE = {"deployed": GateLabel.CLEAN, "quarantine": GateLabel.HACK}  # the label of rollouts that train this block and no other


@dataclass
class FixedTerms:
    """Per rollout index one tensor [N]; this learner's rollouts only. Each is written once, before the first step."""

    cap: float  # importance weights are truncated here
    trained: bool  # weights are of the policy that trains over the engine's, instead of the policy that sampled
    reference: dict[int, Tensor | None]  # log-probabilities of the base, where they were computed
    old: dict[int, Tensor] = field(default_factory=dict)  # under the policy that trains, before the first step
    weight: dict[int, Tensor] = field(default_factory=dict)  # truncated importance weights, learner over engine
    wrote: dict[int, Tensor] = field(default_factory=dict)  # under the policy that sampled it; empty where there is none
    gap: dict[int, Tensor] = field(default_factory=dict)  # their logarithms before truncation; empty where there is none
    drift: dict[int, Tensor] = field(default_factory=dict)  # scalars: log of the sequence's ratio, policy that trains over engine

    def note_behaviour(self, row: int, sample: Sample, now_N: Tensor) -> None:
        """Enter the importance weights of a rollout from `now_N`, its log-probabilities under the policy that sampled it."""
        if not sample.logprobs:
            self.weight[row], self.gap[row], self.wrote[row] = torch.ones_like(now_N), now_N[:0], now_N[:0]
            return
        self.wrote[row] = now_N
        self.gap[row] = now_N - torch.tensor(sample.logprobs, device=now_N.device)
        self.weight[row] = torch.exp(self.gap[row]).clamp(max=self.cap)

    def note_training(self, row: int, sample: Sample, now_N: Tensor) -> None:
        """Enter what is still open of a rollout from `now_N`, its log-probabilities in the first training pass."""
        if row in self.old:
            return
        self.old[row] = now_N
        if row not in self.weight:
            self.note_behaviour(row, sample, now_N)
        if not sample.logprobs:
            return
        drift_N = now_N - torch.tensor(sample.logprobs, device=now_N.device)
        self.drift[row] = drift_N.double().sum()
        if self.trained:
            self.weight[row] = torch.exp(drift_N).clamp(max=self.cap)

    def metrics(self, team: Team) -> dict[str, float]:
        """What the sampled tokens of all learners say of the policy that sampled them, as the learner computes it now."""
        return {**self._mismatch(team), **self._spread(team)}

    def _spread(self, team: Team) -> dict[str, float]:
        """Its entropy, as the mean of -log p; and k3 of its KL to the base, over the rollouts whose reference is known."""
        token_sums = [0.0, 0, 0.0, 0]
        for row, now_N in sorted(self.wrote.items()):
            token_sums[0] -= now_N.double().sum().item()
            token_sums[1] += len(now_N)
            reference_N = self.reference[row]
            if reference_N is not None and len(now_N):
                log_ratio_N = reference_N.to(now_N.device).double() - now_N.double()
                token_sums[2] += (torch.expm1(log_ratio_N) - log_ratio_N).sum().item()
                token_sums[3] += len(now_N)
        entropy, tokens, kl, known = team.total(*token_sums)
        return {"entropy": entropy / tokens if tokens else math.nan, "kl/reference": kl / known if known else math.nan}

    def _mismatch(self, team: Team) -> dict[str, float]:
        """Engine against learner on the sampled tokens of all learners: k3 estimate of KL(engine || learner), largest gap,
        share of tokens whose weight was truncated."""
        mine = [self.gap[row] for row in sorted(self.gap)] or [torch.empty(0)]
        gap_N = team.concat(torch.cat(mine))
        if not len(gap_N):
            return dict.fromkeys(("mismatch/kl", "mismatch/max", "importance/capped_share"), math.nan)
        return {
            "mismatch/kl": (torch.expm1(gap_N.double()) - gap_N.double()).mean().item(),
            "mismatch/max": gap_N.abs().max().item(),
            "importance/capped_share": (torch.exp(gap_N) > self.cap).float().mean().item(),
        }

    def off_policy(self, labels: list[GateLabel], team: Team) -> dict[str, float]:
        """How far the policy that a rollout trains is from the one that wrote it, for every block that is trained alone.

        The rollouts labelled clean train the deployed block, those labelled hack the quarantine. The median of the sequences'
        ratios, and their effective sample size (sum w)^2 / sum w^2 as a share of their number. NaN where there is none.
        """
        known = torch.stack([*self.drift.values()]).tolist() if self.drift else []
        every = team.merged(dict(zip(self.drift, known, strict=True)))
        found = {}
        for block, label in ALONE.items():
            rows = [row for row, x in enumerate(labels) if x is label]
            drift_G = torch.tensor([every[row] for row in rows if row in every], dtype=torch.float64)
            median, size = math.nan, math.nan
            if len(drift_G):
                median = drift_G.median().exp().item()
                size = torch.exp(2 * drift_G.logsumexp(0) - (2 * drift_G).logsumexp(0)).item() / len(drift_G)
            found |= {f"importance/{block}_median": median, f"importance/{block}_ess": size}
        return found


def sampling_policy(sample: Sample, deployed_blocks: int) -> Policy:
    """The policy that wrote a sample: both blocks, or the deployed one alone."""
    both = sample.sampling is Sampling.TRAIN or deployed_blocks == BLOCKS
    return Policy.TRAIN if both else Policy.DEPLOY


def fixed_terms(
    model: PreTrainedModel, lora: Lora2r, config: Config, samples: list[Sample], labels: list[GateLabel],
    known: list[FromTokens], team: Team,
) -> FixedTerms:  # fmt: skip
    """The terms of a batch, with a forward pass for the rollouts whose behaviour policy neither trains nor is in `known`."""
    objective = config.objective
    # Where the sampler leaves tokens out, the base gives some of the sampled ones no probability, and the KL to it is infinite.
    truncated = Density.of(config.rollout).truncates
    reference = {row: None if truncated else one.reference_N for row, one in enumerate(known)}
    terms = FixedTerms(objective.importance_cap, objective.ratio == "trained", reference)
    wrote = [sampling_policy(s, config.lora.deployed_blocks) for s in samples]
    same = {(1, 1), (2, 2), *([(1, 2), (2, 1)] if lora.quarantine_untouched() else [])}
    budget = config.train.micro_tokens
    mine = [row for unit in team.mine(units(samples, labels, budget)) for row in unit.rows]
    open_rows = [row for row in mine if (wrote[row].blocks, ROUTED[labels[row]].blocks) not in same]

    for row in open_rows:
        deployed_N = known[row].deployed_N
        if wrote[row] is Policy.DEPLOY and deployed_N is not None:
            terms.note_behaviour(row, samples[row], deployed_N.to(lora.device))
    open_rows = [row for row in open_rows if row not in terms.weight]

    def note(batch: tuple[Policy, list[int]]) -> None:
        policy, rows = batch
        packing = pack([samples[i] for i in rows], lora.device, share=True)
        with torch.no_grad(), lora.policy(policy):
            now_C = logprobs_C(model, packing, Density.of(config.rollout))
        for row, now_N in zip(rows, now_C.split(packing.lengths), strict=True):
            terms.note_behaviour(row, samples[row], now_N)

    list(side_by_side.in_order(note, micro_batches(units(samples, wrote, budget, open_rows), budget)))
    return terms
