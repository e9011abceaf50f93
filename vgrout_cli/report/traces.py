"""A6: per loophole one training prompt in full, with a hacked and an honest completion of the same group and their verdicts.

Invariant: nothing is chosen by hand. It is the first group in training order, of the lowest finished seed, that has both kinds. A
mode without such a group says so. Texts are verbatim.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from vgrout.records import LOOPHOLES
from vgrout.rows import Row
from vgrout_cli.report.cells import number
from vgrout_cli.report.evidence import ROLLOUT, audits_of, read_log
from vgrout_cli.report.sources import Evidence

ARM_ORDER = ("routev", "routev_ub", "placebo", "vanilla")


@dataclass(frozen=True)
class Completion:
    """One completion with what the gate and the grader said of it."""

    text: str
    verdict: str


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
                return _first(f"{arm}, seed {run.seed}", read_log(files[0], ROLLOUT), audits_of(run))
    return dict.fromkeys(LOOPHOLES)


def _first(source: str, rollouts: Iterable[Row], audits: dict[str, Row]) -> dict[str, Trace | None]:
    found: dict[str, Trace | None] = dict.fromkeys(LOOPHOLES)
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
            where = f"{source}, update {r['update']}, problem {r['problem_id']}"
            found[r["mode"]] = Trace(r["mode"], where, r["prompt"], _completion(*group["hack"]), _completion(*group["clean"]))
    return found


def _completion(r: Row, audit: Row) -> Completion:
    truth = "hack: the loophole pays, the tests fail" if audit["exploited"] else "correct: all hidden tests pass"
    mechanism = f" ({audit['mechanism']})" if audit["mechanism"] else ""
    passed = audit["notes"].get("passed"), audit["notes"].get("tests")
    tests = f", {passed[0]} of {passed[1]} tests before the first failure" if audit["exploited"] and passed[1] is not None else ""
    score = "" if r["score"] is None or r["score"] != r["score"] else f", score {number(r['score'], sign=True)}"
    return Completion(r["text"], f"audit: {truth}{mechanism}{tests}; reward {r['reward']}; gate label {r['label']}{score}")
