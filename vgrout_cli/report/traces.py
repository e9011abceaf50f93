"""A6: per loophole one training prompt in full, with a hacked and an honest completion of the same group and their verdicts.

Invariant: nothing is chosen by hand. It is the first group in training order, of the lowest finished seed, that has both kinds. A
mode without such a group says so. Texts are verbatim.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vgrout.rows import Row
from vgrout_cli.report.cells import number
from vgrout_cli.report.evidence import ROLLOUT, Run, audits_of, read_log
from vgrout_cli.report.sources import Evidence

TRAINS = {"clean": "it trains the deployed block alone", "mid": "it trains both blocks", "hack": "it trains the quarantine alone"}
ARM_ORDER = ("routev", "routev_ub", "placebo", "vanilla")


@dataclass(frozen=True)
class Completion:
    """One completion with what the grader said of it, and its gate label with the reason for it."""

    text: str
    verdict: str
    label: str


@dataclass(frozen=True)
class Trace:
    """One mode's prompt and its two completions; `where` says the run, update and problem."""

    mode: str
    where: str
    prompt: str
    hack: Completion
    clean: Completion


def traces(evidence: Evidence) -> dict[str, Trace | None]:
    """One trace per loophole, from the first arm of ARM_ORDER that has finished runs with logs; None where there is none."""
    for arm in ARM_ORDER:
        for _, run in sorted(evidence.done(arm).items()):
            files = run.path / "rollouts.jsonl", run.path / "audits.jsonl"
            if all(file.is_file() for file in files):
                return _first(run, evidence.loopholes, read_log(files[0], ROLLOUT), audits_of(run))
    return dict.fromkeys(evidence.loopholes)


def _first(run: Run, loopholes: Sequence[str], rollouts: Iterable[Row], audits: dict[str, Row]) -> dict[str, Trace | None]:
    found: dict[str, Trace | None] = dict.fromkeys(loopholes)
    group: dict[str, tuple[Row, Row]] = {}
    current = None
    for r in rollouts:
        if (r["update"], r["group"]) != current:
            current, group = (r["update"], r["group"]), {}
        audit = audits.get(r["id"])
        if audit is None or found.get(r["mode"], "") is not None:
            continue
        side = "hack" if audit["exploited"] else "clean" if audit["correct"] and not audit["channel"] else ""
        if side:
            group.setdefault(side, (r, audit))
        if len(group) == 2:
            where = f"{run.arm}, seed {run.seed}, update {r['update']}, problem {r['problem_id']}"
            sides = (_completion(run, *group[name]) for name in ("hack", "clean"))
            found[r["mode"]] = Trace(r["mode"], where, r["prompt"], *sides)
    return found


def _completion(run: Run, r: Row, audit: Row) -> Completion:
    truth = "hack: the loophole pays, the tests fail" if audit["exploited"] else "correct: all hidden tests pass"
    mechanism = f" ({audit['mechanism']})" if audit["mechanism"] else ""
    passed = audit["notes"].get("passed"), audit["notes"].get("tests")
    tests = f", {passed[0]} of {passed[1]} tests before the first failure" if audit["exploited"] and passed[1] is not None else ""
    advantage = r.get("advantage")
    gained = f", advantage {number(advantage, sign=True)}" if isinstance(advantage, int | float) else ""
    return Completion(r["text"], f"audit: {truth}{mechanism}{tests}; reward {r['reward']}{gained}", reason(run, r))


def reason(run: Run, r: Row) -> str:
    """Why a rollout has its label: the rule of the run's gate, and where its score lies."""
    rule = run.config.gate.rule if run.config else ""
    label = f"gate label {r['label']} ({TRAINS.get(r['label'], 'not trained on')})"
    if rule == "pinned" or not isinstance(r["score"], int | float) or math.isnan(r["score"]):
        return f"{label}: the gate of {run.arm} gives every rollout this label"
    score = f"its score is {number(r['score'], sign=True)}"
    if rule == "matched":
        return f"{label}: {score}, and the shares of labels are given, by rank of the scores in the update"
    row = run.metrics[r["update"]] if r["update"] < len(run.metrics) else {}
    low, high = row.get("gate/band_lower"), row.get("gate/band_upper")
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        return f"{label}: {score}"
    place = "below the band" if r["score"] < low else "above the band" if r["score"] > high else "inside the band"
    if place == "above the band" and r["label"] == "clean":
        place += ", but its reward is not above the mean of its group (gate.route = rewarded)"
    parts = ", ".join(number(x, sign=True) for x in r.get("layer_scores") or ())
    layers = f"; by layer {parts}" if parts else ""
    return f"{label}: {score}, {place} [{number(low, sign=True)}, {number(high, sign=True)}]{layers}"
