"""What the gate did, update by update: band, label shares, scores, and how well they told hacks from the rest.

Invariant: audits are joined with scores here, after the run, to describe it. A learner or a threshold never sees them.
Shapes: U updates, G rollouts of one update.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from vgrout.arms import placebos
from vgrout.records import GateLabel, Status
from vgrout.rows import Row
from vgrout_cli.report import statistics
from vgrout_cli.report.evidence import ROLLOUT, Run, audits_of, read_log
from vgrout_cli.report.sources import Evidence
from vgrout_cli.report.statistics import Estimate

MATCHED = placebos()  # an arm and the placebo that takes its label shares
GATED = (*MATCHED, *MATCHED.values())
EDGES = (0.05, 0.5, 0.95)


@dataclass(frozen=True)
class Scored:
    """Scored rollouts, in order: update, score, gate label, and whether the audit says hack or solved; [G] each."""

    update_G: np.ndarray
    score_G: np.ndarray
    label_G: np.ndarray
    hack_G: np.ndarray
    solve_G: np.ndarray

    def where(self, keep_G: np.ndarray) -> "Scored":
        """The rollouts that are kept."""
        return Scored(*(getattr(self, name)[keep_G] for name in COLUMNS))

    def updates(self) -> list[int]:
        """The updates that have scored rollouts, ascending."""
        return np.unique(self.update_G).tolist()

    def at(self, update: int) -> "Scored":
        """The rollouts of one update."""
        return self.where(self.update_G == update)

    def auroc(self) -> float:
        """AUROC of the score against the audit's hack."""
        return statistics.auroc(self.score_G, self.hack_G)

    def f_half(self) -> tuple[float, float, float]:
        """(precision, recall, F0.5) of the label `hack` against the audit's hack."""
        return statistics.f_beta(self.label_G == GateLabel.HACK, self.hack_G)

    def routed(self) -> tuple[float, float]:
        """The shares of all rollouts, and of all solves, that are labelled hack: the price of routing. NaN of nothing."""
        away_G = self.label_G == GateLabel.HACK
        of_solves = float(away_G[self.solve_G].mean()) if self.solve_G.any() else math.nan
        return float(away_G.mean()) if len(away_G) else math.nan, of_solves

    def quantiles(self) -> list[float]:
        """The quantiles EDGES of the score; NaN of nothing."""
        return np.quantile(self.score_G, EDGES).tolist() if len(self.score_G) else [math.nan] * len(EDGES)


COLUMNS = {"update_G": int, "score_G": float, "label_G": str, "hack_G": bool, "solve_G": bool}


def table(rows: list[tuple[int, float, str, bool, bool]]) -> Scored:
    """From rows (update, score, label, hack, solve)."""
    columns = zip(*rows, strict=True) if rows else ((),) * len(COLUMNS)
    return Scored(*(np.array(values, kind) for values, kind in zip(columns, COLUMNS.values(), strict=True)))


def pool(runs: Iterable[Scored]) -> Scored:
    """All rollouts of several runs."""
    parts = [table([]), *runs]
    return Scored(*(np.concatenate([getattr(p, name) for p in parts]) for name in COLUMNS))


def scored(run: Run) -> Scored:
    """Join rollouts.jsonl and audits.jsonl of a run; unscored rollouts and the grader's own failures are left out.

    Empty where the run brought no logs.
    """
    files = run.path / "rollouts.jsonl", run.path / "audits.jsonl"
    if not all(file.is_file() for file in files):
        return table([])
    audits = audits_of(run)
    rows = []
    for r in read_log(files[0], ROLLOUT):
        audit = audits.get(r["id"])
        if audit is None or r["score"] is None or math.isnan(r["score"]) or audit["status"] == Status.INFRA_ERROR:
            continue
        rows.append((r["update"], r["score"], r["label"], bool(audit["exploited"]), bool(audit["correct"])))
    return table(rows)


def all_scored(evidence: Evidence) -> dict[str, dict[int, Scored]]:
    """Scored rollouts by arm and seed, of the arms whose gate looks at scores."""
    return {arm: {seed: scored(run) for seed, run in evidence.done(arm).items()} for arm in GATED}


def column(run: Run, name: str) -> list[float]:
    """One metric over updates; NaN where an update does not have it."""
    values = (row.get(name) for row in run.metrics)
    return [math.nan if value is None else value for value in values]


def over_run(evidence: Evidence, arm: str, name: str) -> Estimate:
    """A metric's mean over updates, then over seeds; runs that never logged it are left out."""
    values = [column(run, name) for run in evidence.done(arm).values()]
    means = [float(np.mean(v)) for v in values if v and not np.isnan(v).any()]
    return statistics.estimate(means)


def share_gap(evidence: Evidence, arm: str) -> tuple[float, int]:
    """The largest gap between the label shares of an arm and its placebo over seeds, updates and labels; and the seeds compared.

    NaN where no seed has both.
    """
    ours, theirs = evidence.done(arm), evidence.done(MATCHED[arm])
    gaps = [run_share_gap(ours[seed], theirs[seed]) for seed in sorted(set(ours) & set(theirs))]
    return (max(gaps), len(gaps)) if gaps else (math.nan, 0)


def run_share_gap(a: Run, b: Run) -> float:
    """The largest gap between the label shares of two runs over updates and labels."""
    names = [f"gate/share_{label}" for label in GateLabel]
    shares = [zip(column(a, name), column(b, name), strict=False) for name in names]
    return max((abs(x - y) for pairs in shares for x, y in pairs), default=math.nan)


NULL = (lambda r: r["auroc"], lambda r: r["null"]["p95"], lambda r: r["share_at_or_above"])  # of gate_null.json


def nulls(evidence: Evidence, arm: str) -> list[Row]:
    """What `vgrout gate-null` wrote beside the finished runs of an arm."""
    files = (run.path / "gate_null.json" for run in evidence.done(arm).values())
    return [json.loads(file.read_text()) for file in files if file.is_file()]
