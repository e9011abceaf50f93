"""The comparisons that the tables, the checklist and the verdict share, each computed once.

Invariant: the pairs of arms that are compared are fixed here, before any outcome is known: routev (group baseline) is the
method, every placebo is matched to the arm of its own baseline, and the solve band is the base's 95% interval.
"""

import math
from dataclasses import dataclass

from vgrout_cli.report import measures
from vgrout_cli.report.gate_numbers import MATCHED, Scored, all_scored, share_gap
from vgrout_cli.report.measures import NONE, Difference
from vgrout_cli.report.sources import Evidence
from vgrout_cli.report.statistics import Estimate, Interval

SHARE_GAP = 0.02


@dataclass(frozen=True)
class Findings:
    """Evidence and its comparisons (n = 0 where a run is missing). Differences are by arm, those of held-out arms on their
    held-out modes."""

    evidence: Evidence
    base_solve: Interval
    base_hack: Interval
    hack_to_vanilla: dict[str, Difference]
    solve_to_vanilla: dict[str, Difference]
    hack_to_placebo: dict[str, Difference]
    solve_to_base: dict[str, Difference]
    hack_to_absorb: Difference
    hack_to_vanilla_full: Difference
    held_out_to_vanilla: dict[str, Difference]
    share_gaps: dict[str, tuple[float, int]]
    scored: dict[str, dict[int, Scored]]

    def rate(self, arm: str, what: str, policy: str = "deploy") -> Estimate:
        """Mean over seeds on the whole test split."""
        return measures.rate(self.evidence, arm, what, policy)

    def matched(self, arm: str) -> bool:
        """The placebo of an arm routes its fractions: no label share differs by more than SHARE_GAP in any update."""
        return self.share_gaps[arm][0] <= SHARE_GAP

    def solve_band(self, arm: str) -> str:
        """Where an arm's solve lies: `below`, `within` or `above` the base's interval; empty where one is missing."""
        solve, band = self.rate(arm, "solve").mean, self.base_solve
        if math.isnan(solve) or math.isnan(band.low):
            return ""
        return "below" if solve < band.low else "above" if solve > band.high else "within"

    def collapsed(self, arm: str) -> bool:
        """A hack rate below vanilla's that comes with a solve rate below the base's interval."""
        return self.hack_to_vanilla.get(arm, NONE).paired.difference < 0 and self.solve_band(arm) == "below"


def find(evidence: Evidence) -> Findings:
    """Compute everything."""
    without = {arm: next(iter(evidence.done(arm).values())).held_out for arm in evidence.held_out_arms if evidence.done(arm)}
    to_vanilla = [arm for arm in evidence.arms if arm != "vanilla"]
    return Findings(
        evidence=evidence,
        base_solve=measures.base_interval(evidence, "solve"),
        base_hack=measures.base_interval(evidence, "hack"),
        hack_to_vanilla={arm: measures.difference(evidence, arm, "vanilla", "hack") for arm in to_vanilla},
        solve_to_vanilla={arm: measures.difference(evidence, arm, "vanilla", "solve") for arm in to_vanilla},
        hack_to_placebo={
            arm: measures.difference(evidence, arm, MATCHED.get(arm, MATCHED["routev"]), "hack")
            for arm in evidence.arms
            if arm not in MATCHED.values()
        },
        solve_to_base={arm: measures.difference(evidence, arm, "base", "solve") for arm in evidence.arms if arm != "base"},
        hack_to_absorb=measures.difference(evidence, "routev", "absorb", "hack"),
        hack_to_vanilla_full=measures.difference(evidence, "routev", "vanilla_full", "hack"),
        held_out_to_vanilla={
            arm: measures.difference(evidence, arm, "vanilla", "hack", modes=modes) for arm, modes in without.items()
        },
        share_gaps={arm: share_gap(evidence, arm) for arm in MATCHED},
        scored=all_scored(evidence),
    )
