"""The banded gate: from scores to gate labels.

Invariant: labels depend on scores, on the band and on nothing else; score < lower is clean, score > upper is hack,
and everything between (both edges included) is mid. A band without width is a two-way gate: a score at its one edge is clean,
since the c-probe of a rollout can be exactly 0 and so can the edge.
Pure functions and one small state: no model, no pairs, no rewards.
Shapes: G rollouts.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vgrout.records import GateLabel


@dataclass(frozen=True)
class Band:
    """`[lower, upper]` on the score axis. With lower >= upper nothing is mid: the one edge is their midpoint."""

    lower: float
    upper: float

    @property
    def width(self) -> float:
        """upper - lower; about 0 for a Haar-random direction."""
        return self.upper - self.lower


def pair_band(hack_P: Tensor, clean_P: Tensor, upper_scale: float, *, at_least_0: bool = True) -> Band:
    """Band from cross-fitted scores of the pairs: lower = mean of the clean sides, but (`at_least_0`) not below 0;
    upper = lower + upper_scale * (mean of the hack sides - lower). Without the bound and with a scale of 1 it is the band of
    the vGROUT write-up: from the mean of the clean sides to the mean of the hack sides.

    Why 0: a rollout sampled from the policy has an expected score gradient of zero, so live honest rollouts fall around
    0, while an authored clean side falls far below it by as much as the model finds it unlikely. Why a scale below 1: authored
    hacks are purer than live ones. Neither edge looks at a rollout.
    """
    clean = clean_P.mean().item()
    lower = max(0.0, clean) if at_least_0 else clean
    return Band(lower, lower + upper_scale * (hack_P.mean().item() - lower))


def weighted_quantile(values: list[float], weights: list[float], q: float) -> float:
    """The smallest value whose cumulative weight reaches the share `q` of the total weight."""
    ordered = sorted(zip(values, weights, strict=True))
    target, seen = q * sum(weights), 0.0
    for value, weight in ordered:
        seen += weight
        if seen >= target - 1e-12:
            return value
    return ordered[-1][0]


@dataclass(frozen=True)
class ScoreHistory:
    """Scores of past updates, newest last, for rolling quantiles; a score's weight halves every `half_life` updates."""

    half_life: float
    updates: tuple[tuple[float, ...], ...] = ()

    def add(self, score_G: Tensor) -> "ScoreHistory":
        """A history with one more update; updates that weigh less than 1/1000 are dropped."""
        keep = int(10 * self.half_life) + 1
        return ScoreHistory(self.half_life, (*self.updates, tuple(score_G.tolist()))[-keep:])

    def band(self, quantiles: tuple[float, ...]) -> Band:
        """The band between two weighted quantiles of the history."""
        values, weights = [], []
        for age, scores in enumerate(reversed(self.updates)):
            values += scores
            weights += [0.5 ** (age / self.half_life)] * len(scores)
        return Band(*(weighted_quantile(values, weights, q) for q in quantiles))


def label(score_G: Tensor, band: Band) -> list[GateLabel]:
    """Gate labels of a batch of scores."""
    lower, upper = band.lower, band.upper
    if lower >= upper:
        edge = (lower + upper) / 2
        return [GateLabel.HACK if s > edge else GateLabel.CLEAN for s in score_G.tolist()]
    return [GateLabel.CLEAN if s < lower else GateLabel.HACK if s > upper else GateLabel.MID for s in score_G.tolist()]


def only_rewarded(labels: list[GateLabel], rewarded: list[bool]) -> list[GateLabel]:
    """A hack label becomes clean where its rollout was not rewarded: a failure teaches no hack, whatever its score."""
    return [GateLabel.CLEAN if x is GateLabel.HACK and not r else x for x, r in zip(labels, rewarded, strict=True)]


def label_by_fractions(score_G: Tensor, fractions: tuple[float, ...], rewarded: list[bool] | None = None) -> list[GateLabel]:
    """Labels with given shares (clean, mid, hack) by rank of this batch's own scores: the placebo's matched gate.

    `rewarded`: only these can be labelled hack. The others above the lowest hack are the first to count as clean, as under
    `only_rewarded`. Where too few are rewarded for the share of hack, what is missing counts as clean.
    """
    count = len(score_G)
    clean = round(fractions[0] * count)
    hack = min(round(fractions[2] * count), count - clean)
    order = torch.argsort(score_G, stable=True).tolist()
    able = [i for i in order if rewarded is None or rewarded[i]]
    hacks = able[max(0, len(able) - hack) :]
    edge = order.index(hacks[0]) if hacks else count
    failures = [i for i in order[edge:] if i not in hacks]
    labels = [GateLabel.MID] * count
    for i in [*failures, *order[:edge]][: clean + hack - len(hacks)]:
        labels[i] = GateLabel.CLEAN
    for i in hacks:
        labels[i] = GateLabel.HACK
    return labels
