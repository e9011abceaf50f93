"""The `[gate]` section: how a rollout's score becomes a gate label. One class per rule; `rule` says which.

Invariant: a gate has the fields that its rule reads and no others. The maths is in learner/gate.py and learner/router.py.
"""

from pathlib import PurePath
from typing import Literal

from pydantic.dataclasses import dataclass

from vgrout.errors import UserError
from vgrout.fields import HUGE, STRICT, option
from vgrout.records import GateLabel

ProbePolicy = Literal["initial", "current"]
ProbePositions = Literal["all", "completion"]
Directions = Literal["mean", "max_over_tags"]
ScoreForm = Literal["cosine", "dot"]
Route = Literal["all", "rewarded"]
Space = Literal["gradient", "activation"]
Act = Literal["route", "reward", "advantage"]
DIRECTIONS = (
    "mean: one direction, over all pairs; max_over_tags: one for each tag of the pairs, and a rollout's score is the largest. "
    "A placebo has as many random ones."
)
UNIT_PAIRS = (
    "Whether every c-probe of the pairs is scaled to norm 1, module by module, before the differences are averaged, as the "
    "cosine does with a rollout's own: no pair then weighs more because the model finds it less likely."
)
SCORE = "cosine: of the c-probe with the direction; dot: their product, which grows with the length of the c-probe."
ROUTE = (
    "rewarded: a rollout above the band that was not paid more than the mean of its group counts as clean, since a failure "
    "teaches no hack; all: it is routed like any other."
)
MATCHED_ROUTE = (
    "As in the run whose label shares are taken. rewarded: the share of hack is drawn among the rollouts that were paid more "
    "than the mean of their group; the others above the lowest of them are the first to count as clean."
)
SPACE = (
    "gradient: c-probes; activation: what goes through the deployed bottlenecks, averaged over the completion and centred "
    "between the two sides of the pairs (learner/activations.py)."
)
ACT = (
    "What a high score does. route: it decides the label; reward: every rollout is labelled clean, and the reward of one above "
    "the band is lowered by `weight`; advantage: every rollout is labelled clean, and `weight` times its score, standardised in "
    "its group, is subtracted from its advantage (learner/score_penalty.py)."
)
PROBE = (
    "The adapter at which pairs and rollouts are probed: the untouched initial one, or the current deployed block, which tells "
    "hacks of its own better where v_grad is extracted anew every few updates (docs/results/tiny/tuning.md)."
)
POSITIONS = (
    "Where the c-probe acts. all: at every token, the definition of the method; each rollout then goes through the model with a "
    "prompt of its own. completion: at the completion's tokens alone, so that a group shares its prompt; about 2 times cheaper, "
    "but another score, since what the prompt's tokens would tell is left out."
)
REFRESH = (
    "Updates between two extractions of v_grad and its band; 0: once, at the start. Needs probe_policy = 'current', since "
    "nothing changes at the initial adapter."
)


def _check_form(unit_pairs: bool, score: str) -> None:
    if unit_pairs and score == "dot":
        raise UserError("unit_pairs", "true", "false with score = 'dot', whose scale the band would lose")


def _check_refresh(refresh_every: int, probe_policy: str) -> None:
    if refresh_every and probe_policy == "initial":
        raise UserError("refresh_every", str(refresh_every), "0 with probe_policy = 'initial' (there is nothing new to extract)")


@dataclass(frozen=True, config=STRICT)
class PinnedGate:
    """Every rollout gets the same label, whatever its score; nothing is probed."""

    rule: Literal["pinned"] = option("pinned", "Every rollout gets the label `pin`.")
    pin: GateLabel = option(
        GateLabel.CLEAN,
        "The label: clean trains the deployed block without the quarantine, mid trains both, hack the quarantine alone.",
    )


@dataclass(frozen=True, config=STRICT)
class GivenGate:
    """Labels come with the batch, from audits: a relaxed comparator (`[relaxed]`), with a perfect or a noisy hack label."""

    rule: Literal["given"] = option("given", "A flagged rollout is labelled hack, every other clean (relaxed.use = 'gate').")


@dataclass(frozen=True, config=STRICT)
class PairsGate:
    """A rollout's score is compared with a band that is cross-fitted on the authored pairs."""

    rule: Literal["pairs"] = option("pairs", "The band comes from the scores of the authored pairs.")
    upper_scale: float = option(
        0.4,
        "Where the upper edge of the band lies between its lower edge (0) and the mean score of the pairs' hack sides (1).",
        ge=0,
        le=10,
    )
    at_least_0: bool = option(
        True, "Whether the lower edge, the mean score of the pairs' clean sides, is raised to 0 where it is below."
    )
    route: Route = option("all", ROUTE)
    directions: Directions = option("mean", DIRECTIONS)
    unit_pairs: bool = option(False, UNIT_PAIRS)
    score: ScoreForm = option("cosine", SCORE)
    space: Space = option("gradient", SPACE)
    act: Act = option("route", ACT)
    weight: float = option(3.0, "How much a high score costs, with act = 'reward' or 'advantage'.", ge=0, le=1e6)
    probe_policy: ProbePolicy = option("initial", PROBE)
    probe_positions: ProbePositions = option("all", POSITIONS)
    refresh_every: int = option(0, REFRESH, unit="updates", ge=0, le=HUGE)

    def check(self) -> None:
        """Raise UserError for an option that would do nothing."""
        _check_refresh(self.refresh_every, self.probe_policy)
        if self.route != "all" and self.act != "route":
            raise UserError("route", repr(self.route), f"'all' with act = {self.act!r}, which routes nothing")
        if self.probe_positions != "all" and self.space == "activation":
            raise UserError("probe_positions", repr(self.probe_positions), "'all' with space = 'activation': it has no c-probe")
        _check_form(self.unit_pairs, self.score)


@dataclass(frozen=True, config=STRICT)
class QuantileGate:
    """A rollout's score is compared with rolling quantiles of the scores of this run's own rollouts."""

    rule: Literal["quantile"] = option("quantile", "The band lies between two quantiles of the live scores.")
    quantiles: tuple[float, ...] = option(
        (0.2, 0.8), "The quantiles of the lower and of the upper edge.", min_length=2, max_length=2
    )
    half_life: float = option(2.0, "After how many updates a score weighs half.", unit="updates", gt=0, le=10_000)
    route: Route = option("all", ROUTE)
    directions: Directions = option("mean", DIRECTIONS)
    unit_pairs: bool = option(False, UNIT_PAIRS)
    score: ScoreForm = option("cosine", SCORE)
    probe_policy: ProbePolicy = option("initial", PROBE)
    probe_positions: ProbePositions = option("all", POSITIONS)
    refresh_every: int = option(0, REFRESH, unit="updates", ge=0, le=HUGE)

    def check(self) -> None:
        """Raise UserError for quantiles out of order or range, or a refresh that would do nothing."""
        if not 0 <= self.quantiles[0] <= self.quantiles[1] <= 1:
            raise UserError("quantiles", repr(self.quantiles), "two numbers, 0 <= lower <= upper <= 1")
        _check_refresh(self.refresh_every, self.probe_policy)
        _check_form(self.unit_pairs, self.score)


@dataclass(frozen=True, config=STRICT)
class MatchedGate:
    """The placebo: a Haar-random v_grad, and the label shares of another run or given ones, by rank of this run's own scores."""

    rule: Literal["matched"] = option("matched", "Label shares are given, and v_grad is Haar-random.")
    reference_arm: str = option(
        "", "The arm whose run of the same seed the shares come from: a suite trains it first and sets reference_run."
    )
    reference_run: str = option("", "The run directory whose label shares are taken, update by update.")
    fractions: tuple[float, ...] = option(
        (), "Shares of clean, mid and hack of every update, where no run is named; none: a run must be named.", max_length=3
    )
    upper_scale: float = option(0.4, "As in rule = 'pairs', for the band that is logged; it decides no label here.", ge=0, le=10)
    route: Route = option("all", MATCHED_ROUTE)
    placebo_seed: int = option(0, "The seed of the random directions; 0: the run's own.", ge=0, le=2**63 - 1)
    directions: Directions = option("mean", DIRECTIONS)
    unit_pairs: bool = option(False, UNIT_PAIRS)
    score: ScoreForm = option("cosine", SCORE)
    probe_policy: ProbePolicy = option("initial", PROBE)
    probe_positions: ProbePositions = option("all", POSITIONS)
    refresh_every: int = option(0, REFRESH, unit="updates", ge=0, le=HUGE)

    def check(self) -> None:
        """Raise UserError for shares that are no shares, given twice, or not given: an unmatched placebo compares nothing."""
        shares = self.fractions
        if shares and (len(shares) != 3 or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6):
            raise UserError("fractions", repr(shares), "three shares (clean, mid, hack) that sum to 1")
        if bool(shares) == bool(self.reference_run):
            found = "nothing" if not shares else f"{PurePath(self.reference_run).name!r} beside gate.fractions"
            of = f"of {self.reference_arm} " if self.reference_arm else ""
            raise UserError(
                "reference_run",
                found,
                f"a finished run {of}with the same seed (--set gate.reference_run=RUN), or gate.fractions = [clean, mid, hack]",
            )
        _check_refresh(self.refresh_every, self.probe_policy)
        _check_form(self.unit_pairs, self.score)

    def check_route(self, reference: "GateConfig") -> None:
        """Raise UserError where the run whose label shares are taken routes by rewards and this one does not, or the reverse."""
        theirs = getattr(reference, "route", "all")
        if self.route != theirs:
            raise UserError("gate.route", repr(self.route), f"{theirs!r}, as in the run whose label shares are taken")


GateConfig = PinnedGate | GivenGate | PairsGate | QuantileGate | MatchedGate
ScoringGate = PairsGate | QuantileGate | MatchedGate
RULES: dict[str, type[GateConfig]] = {
    "pinned": PinnedGate,
    "given": GivenGate,
    "pairs": PairsGate,
    "quantile": QuantileGate,
    "matched": MatchedGate,
}
