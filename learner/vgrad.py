"""v_grad: the direction in c-probe space that tells the hack sides of the authored pairs from their clean sides.

Invariant: the authored pairs are the only source of v_grad and of the pair band; no rollout's reward or audit enters.
A pair is never scored with a v_grad that was fitted on it (cross-fitting), so the band is not inflated.
Shapes: P pairs, D directions, M modules, R rank of one block.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from learner.cprobe import probe
from learner.lora2r import Lora2r
from learner.pair_tokens import PairTokens
from learner.portable_normal import normal
from vgrout.config_gate import Directions, ScoreForm
from vgrout.seeds import stream

LAYER_DECIMALS = 4  # of what is only drawn


@dataclass(frozen=True)
class PairProbe:
    """c-probe gradients of both sides: [P, M, R] each."""

    tags: tuple[str, ...]
    hack_PMR: Tensor
    clean_PMR: Tensor


def probe_pairs(
    model: PreTrainedModel, lora: Lora2r, pairs: PairTokens, *, initial: bool, budget: int, share: bool = False
) -> PairProbe:
    """c-probe both sides of every pair in one pass (`learner.cprobe.probe` says what the options are)."""
    return sides(pairs, probe(model, lora, [*pairs.hack, *pairs.clean], initial=initial, budget=budget, share=share))


def sides(pairs: PairTokens, measured_QMR: Tensor) -> PairProbe:
    """What was measured of all hack sides and, after them, of all clean sides."""
    hack_PMR, clean_PMR = measured_QMR.split(len(pairs.hack))
    return PairProbe(pairs.tags, hack_PMR, clean_PMR)


def unit(v_MR: Tensor) -> Tensor:
    """Scale each module's direction to norm 1 (a zero direction stays zero)."""
    return v_MR / v_MR.norm(dim=-1, keepdim=True).clamp_min(1e-12)


def at_unit_norm(probed: PairProbe) -> PairProbe:
    """Every c-probe scaled to norm 1, module by module, so that all pairs weigh the same in a direction."""
    return PairProbe(probed.tags, unit(probed.hack_PMR), unit(probed.clean_PMR))


def v_grad(hack_PMR: Tensor, clean_PMR: Tensor) -> Tensor:
    """Per module, the unit mean of (hack side - clean side): [M, R]."""
    return unit((hack_PMR - clean_PMR).mean(0))


def directions(probed: PairProbe, kind: Directions) -> Tensor:
    """v_DMR: `mean` has one direction over all pairs, `max_over_tags` one for each tag, in the order of their names."""
    if kind == "mean":
        return v_grad(probed.hack_PMR, probed.clean_PMR)[None]
    return torch.stack([v_grad(probed.hack_PMR[rows], probed.clean_PMR[rows]) for rows in by_tag(probed.tags)])


def haar(count: int, modules: int, rank: int, seed: int) -> Tensor:
    """`count` Haar-random unit directions per module, [D, M, R]: the placebo for v_grad, of the same norm and number."""
    generator = torch.Generator().manual_seed(stream(seed, "haar"))
    return unit(normal((count, modules, rank), generator))


def score(cgrad_GMR: Tensor, v_DMR: Tensor, form: ScoreForm = "cosine") -> Tensor:
    """score_G: each rollout's c-probe against a direction, module by module, averaged over modules; the largest of D.

    `cosine` compares directions alone; `dot` lets a rollout with a longer c-probe score higher.
    """
    side_GMR = unit(cgrad_GMR) if form == "cosine" else cgrad_GMR
    return torch.stack([(side_GMR * v_MR).sum(-1).mean(-1) for v_MR in v_DMR]).amax(0)


def layer_scores(cgrad_GMR: Tensor, v_DMR: Tensor, form: ScoreForm, layer_M: Sequence[int]) -> list[tuple[float, ...]]:
    """Of each rollout, the score module by module, averaged over the modules of every layer; for readers alone.

    With several directions it is of the one that gives the score. `layer_M`: the layer of each module, from 0.
    """
    side_GMR = unit(cgrad_GMR) if form == "cosine" else cgrad_GMR
    score_DGM = torch.stack([(side_GMR * v_MR).sum(-1) for v_MR in v_DMR])
    best_GM = score_DGM[score_DGM.mean(-1).argmax(0), torch.arange(len(cgrad_GMR))]
    layer = torch.tensor(layer_M)
    size_L = torch.bincount(layer)
    sum_GL = torch.zeros(len(cgrad_GMR), len(size_L)).index_add_(1, layer, best_GM)
    return [tuple(round(x, LAYER_DECIMALS) for x in row) for row in (sum_GL / size_L).tolist()]


def by_tag(tags: tuple[str, ...]) -> list[list[int]]:
    """Indices of the pairs of each tag, in the order of the tags' names."""
    return [[i for i, tag in enumerate(tags) if tag == name] for name in sorted(set(tags))]


def folds(tags: tuple[str, ...]) -> list[list[int]]:
    """Indices to leave out together: one fold per tag, so that an edge speaks for a mode that v_grad has not seen.

    With a single tag, one fold per pair.
    """
    if len(set(tags)) == 1:
        return [[i] for i in range(len(tags))]
    return by_tag(tags)


def cross_fit(
    probed: PairProbe, random_DMR: Tensor | None, kind: Directions = "mean", form: ScoreForm = "cosine"
) -> tuple[Tensor, Tensor]:
    """Scores of hack sides and clean sides, [P] each, no pair scored with a v_grad fitted on it.

    `random_DMR` given (the placebo): it was fitted on nothing, so all pairs are scored with it.
    """
    hack_P, clean_P = torch.empty(len(probed.tags)), torch.empty(len(probed.tags))
    for fold in folds(probed.tags):
        kept = [i for i in range(len(probed.tags)) if i not in fold]
        others = PairProbe(tuple(probed.tags[i] for i in kept), probed.hack_PMR[kept], probed.clean_PMR[kept])
        v_DMR = directions(others, kind) if random_DMR is None else random_DMR
        hack_P[fold] = score(probed.hack_PMR[fold], v_DMR, form)
        clean_P[fold] = score(probed.clean_PMR[fold], v_DMR, form)
    return hack_P, clean_P
