"""The gate of one run over time: when v_grad and the band are refreshed, and the labels of every batch.

Invariant: what labels a batch is v_grad and the band from the authored pairs (or Haar, or fractions by rank), the
batch's own c-probe scores and, with `route = "rewarded"`, the rewards that the learner sees anyway. The one
exception is a comparator's gate, `given`, which is told its labels. Refreshes happen at fixed updates, so a resumed
run labels as the uninterrupted one.
Shapes: G rollouts, D directions, M modules, R rank of one block.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import PreTrainedModel

from learner.activations import activations
from learner.ahead import FromTokens
from learner.cprobe import probe
from learner.data_parallel import SOLO, Team
from learner.gate import Band, ScoreHistory, label, label_by_fractions, only_rewarded, pair_band
from learner.lora2r import Lora2r
from learner.model import Tokens
from learner.pair_tokens import PairTokens
from learner.vgrad import PairProbe, at_unit_norm, cross_fit, directions, haar, layer_scores, score, sides
from vgrout.config import GateConfig, GivenGate, MatchedGate, PairsGate, PinnedGate, QuantileGate, ScoringGate
from vgrout.records import GateLabel, Sample


@dataclass
class Refresh:
    """What the last refresh measured; recorded with every update."""

    v_DMR: Tensor
    band: Band
    overlap: float  # mean cosine with the v_grad before this refresh; 1 at the first
    separation: float  # mean cross-fitted score of the pairs' hack sides minus that of their clean sides; about 0 for Haar
    centre_MR: Tensor | None = None  # subtracted from every activation; None for gradients


@dataclass(frozen=True)
class Scores:
    """Of every rollout: its score, and for readers its parts, layer by layer (nothing with a pinned gate)."""

    score_G: Tensor
    layers: list[tuple[float, ...]]


@dataclass
class Router:
    """Scores and labels batches under one GateConfig. `fractions` holds the label shares to match, one row per update."""

    config: GateConfig
    seed: int
    pairs: PairTokens
    fractions: list[tuple[float, ...]] = field(default_factory=list)
    micro_tokens: int = 4096
    refresh: Refresh | None = None
    history: ScoreHistory | None = None
    team: Team = SOLO
    extracted: int | None = None  # the update that `refresh` is of, where this process extracted it

    def ready(self, model: PreTrainedModel, lora: Lora2r, update: int) -> None:
        """Extract v_grad and its band where they are due at this update; a second call changes nothing.

        Raises FloatingPointError where v_grad or an edge would not be finite.
        """
        config = self.config
        if isinstance(config, PinnedGate | GivenGate) or self.extracted == update:
            return
        if self.refresh is None or (config.refresh_every and update % config.refresh_every == 0):
            self.refresh, self.extracted = self.team.same(self._refreshed(model, lora, config)), update

    def score(self, model: PreTrainedModel, lora: Lora2r, samples: list[Sample], known: list[FromTokens], update: int) -> Scores:
        """The cosine of each sample's c-probe with v_grad. A pinned or given gate scores nothing: NaN.

        `known`: what follows from the samples' tokens, their c-probes among it. Raises FloatingPointError for a score that is
        not finite, which no band could label.
        """
        config = self.config
        if isinstance(config, PinnedGate | GivenGate):
            return Scores(torch.full((len(samples),), torch.nan), [()] * len(samples))
        self.ready(model, lora, update)
        found = self._scored(model, lora, samples, known, config)
        lost = [s.rollout_id for s, finite in zip(samples, found.score_G.isfinite().tolist(), strict=True) if not finite]
        if lost:
            raise FloatingPointError(f"update {update}: the score of {len(lost)} rollouts is not finite, of {lost[0]} first")
        return found

    def _scored(
        self, model: PreTrainedModel, lora: Lora2r, samples: list[Sample], known: list[FromTokens], config: ScoringGate
    ) -> Scores:
        if not _reads_activations(config):
            cgrad_GMR = torch.stack([one.cgrad_MR for one in known if one.cgrad_MR is not None])
            return self._compared(cgrad_GMR, lora)
        mine = [s for s in samples if self.team.owns(s.group)]
        found = self._compared(self._measured(model, lora, mine, config), lora)
        parts = zip(found.score_G.tolist(), found.layers, strict=True)
        every = self.team.merged({s.rollout_id: part for s, part in zip(mine, parts, strict=True)})
        whole = [every[s.rollout_id] for s in samples]
        return Scores(torch.tensor([value for value, _ in whole]), [layers for _, layers in whole])

    def _compared(self, cgrad_GMR: Tensor, lora: Lora2r) -> Scores:
        assert self.refresh is not None and isinstance(self.config, ScoringGate)
        v_DMR, form = self.refresh.v_DMR, self.config.score
        return Scores(score(cgrad_GMR, v_DMR, form), layer_scores(cgrad_GMR, v_DMR, form, lora.layers()))

    def label(self, score_G: Tensor, rewarded: list[bool], update: int) -> list[GateLabel]:
        """Gate labels of a batch that was scored. `rewarded`: whether a rollout's reward is above the mean of its group."""
        config = self.config
        if isinstance(config, PinnedGate):
            return [config.pin] * len(score_G)
        assert not isinstance(config, GivenGate)  # its labels come with the batch
        if isinstance(config, MatchedGate):
            row = self.fractions[min(update, len(self.fractions) - 1)] if self.fractions else config.fractions
            return label_by_fractions(score_G, row, rewarded if config.route == "rewarded" else None)
        assert self.refresh is not None
        if isinstance(config, QuantileGate):
            self.history = (self.history or ScoreHistory(config.half_life)).add(score_G)
            self.refresh.band = self.history.band(config.quantiles)
        labels = label(score_G, self.refresh.band)
        if isinstance(config, PairsGate) and config.act != "route":
            return [GateLabel.CLEAN] * len(labels)
        return only_rewarded(labels, rewarded) if config.route == "rewarded" else labels

    def _measured(self, model: PreTrainedModel, lora: Lora2r, items: Sequence[Tokens], config: ScoringGate) -> Tensor:
        """What the direction is compared with, [items, M, R]: c-probes, or activations less their centre where it is known."""
        initial, budget = config.probe_policy == "initial", self.micro_tokens
        if not _reads_activations(config):
            return probe(model, lora, items, initial=initial, budget=budget, share=config.probe_positions == "completion")
        act_GMR = activations(model, lora, items, initial=initial, budget=budget)
        return act_GMR if self.refresh is None or self.refresh.centre_MR is None else act_GMR - self.refresh.centre_MR

    def _refreshed(self, model: PreTrainedModel, lora: Lora2r, config: ScoringGate) -> Refresh:
        previous, self.refresh = self.refresh, None
        probed, centre_MR = sides(self.pairs, self._measured(model, lora, [*self.pairs.hack, *self.pairs.clean], config)), None
        if _reads_activations(config):
            centre_MR = (probed.hack_PMR.mean(0) + probed.clean_PMR.mean(0)) / 2
            probed = PairProbe(probed.tags, probed.hack_PMR - centre_MR, probed.clean_PMR - centre_MR)
        if config.unit_pairs:
            probed = at_unit_norm(probed)
        v_DMR, random = directions(probed, config.directions), None
        if isinstance(config, MatchedGate):
            v_DMR = random = haar(len(v_DMR), len(lora.modules), lora.rank, config.placebo_seed or self.seed)
        overlap = 1.0 if previous is None else (v_DMR * previous.v_DMR).sum(-1).mean().item()
        hack_P, clean_P = cross_fit(probed, random, config.directions, config.score)
        scale = 1.0 if isinstance(config, QuantileGate) else config.upper_scale  # a quantile gate's band is set in `label`
        bounded = config.at_least_0 if isinstance(config, PairsGate) else True
        band = pair_band(hack_P, clean_P, scale, at_least_0=bounded)
        # The pairs' scores, not the band: max(0, NaN) is 0, and a band with a NaN in it labels in silence.
        if not all(x.isfinite().all() for x in (v_DMR, hack_P, clean_P)):
            raise FloatingPointError("v_grad or its score of a pair is not finite: the model has no finite c-probe of that pair")
        return Refresh(v_DMR, band, overlap, (hack_P.mean() - clean_P.mean()).item(), centre_MR)


def _reads_activations(config: ScoringGate) -> bool:
    return isinstance(config, PairsGate) and config.space == "activation"
