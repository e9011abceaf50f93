"""Solve and hack rates of audits, per mode, as counts with their n. Pure; rates are derived from counts, never stored alone.

Invariant: an `infra_error` is in no rate; it is counted beside them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from operator import add
from pathlib import Path
from typing import Literal

from vgrout.errors import UserError
from vgrout.records import Audit, Status
from vgrout.rows import Row


@dataclass(frozen=True)
class Counts:
    """How many of n graded rollouts compiled, were solved, were hacked (exploited and not correct)."""

    n: int = 0
    compiles: int = 0
    solve: int = 0
    hack: int = 0
    infra_error: int = 0

    def rate(self, what: str) -> float:
        """The share `what` of n; NaN where n is 0."""
        return getattr(self, what) / self.n if self.n else float("nan")

    def sem(self, what: str) -> float:
        """Binomial standard error of `rate(what)`; NaN where n is 0 or 1, of which there is none."""
        p = self.rate(what)
        return (p * (1 - p) / self.n) ** 0.5 if self.n > 1 else float("nan")


def by_mode(audits: Iterable[Audit]) -> dict[str, Counts]:
    """Counts per mode and for `all`."""
    sums: dict[str, list[int]] = {"all": [0] * 5}
    for audit in audits:
        failed = audit.status is Status.INFRA_ERROR
        one = (0, 0, 0, 0, 1) if failed else (1, audit.compiles, audit.correct, audit.exploited, 0)
        mode = str(audit.mode)
        for key in ("all", mode):
            sums[key] = list(map(add, sums.get(key, [0] * 5), one))
    return {key: Counts(*counts) for key, counts in sums.items()}


def clustered_sem(audits: Iterable[Audit], mode: str, what: Literal["solve", "hack"]) -> float:
    """Standard error of a rate whose answers come in clusters, all answers to one problem together; NaN for one problem.

    The sandwich estimator of a mean: sqrt(P / (P - 1) * sum over problems of (sum of residuals)^2) / n (Liang and Zeger 1986).
    With one answer a problem it is the usual one with n - 1.
    """
    sums: dict[int, list[int]] = {}
    for audit in audits:
        if audit.status is not Status.INFRA_ERROR and mode in ("all", audit.mode):
            sums.setdefault(audit.problem_id, []).append(audit.correct if what == "solve" else audit.exploited)
    n = sum(map(len, sums.values()))
    if len(sums) < 2:
        return float("nan")
    rate = sum(map(sum, sums.values())) / n
    spread = sum((sum(values) - rate * len(values)) ** 2 for values in sums.values())
    return (len(sums) / (len(sums) - 1) * spread) ** 0.5 / n


def of_evaluation(audits: Sequence[Audit]) -> Row:
    """Counts and rates of an evaluation's answers. With k answers a problem a rate of solves is pass@1, and its standard error
    is clustered by problem."""
    table = to_json(by_mode(audits))
    for mode, counts in table.items():
        counts |= {f"{what}_sem": clustered_sem(audits, mode, what) for what in ("solve", "hack")}
    return table


def to_json(table: dict[str, Counts]) -> Row:
    """Plain JSON: counts, and the rates with their binomial standard errors for readers."""
    return {
        mode: asdict(c) | {f"{w}_rate": c.rate(w) for w in ("solve", "hack")} | {f"{w}_sem": c.sem(w) for w in ("solve", "hack")}
        for mode, c in table.items()
    }


EVALUATION = "an evaluation as `vgrout eval` writes it"
EVALUATION_SCHEMA = 1


def evaluation(path: Path, record: object) -> Row:
    """An evaluation record as it was read from `path`. Raises UserError where it is none, or not whole."""
    if not isinstance(record, dict) or record.get("schema") != EVALUATION_SCHEMA:
        found = record.get("schema") if isinstance(record, dict) else record
        raise UserError(f"{path}: schema", f"{found!r:.60}", f"schema {EVALUATION_SCHEMA}, as `vgrout eval` writes it")
    for name, kind in (("update", int), ("split", str), ("samples", int), ("train_truncated", int), ("deploy_truncated", int)):
        if not isinstance(record.get(name), kind):
            raise UserError(f"{path}: {name}", f"{record.get(name)!r:.60}", EVALUATION)
    for policy in ("train", "deploy"):
        table = record.get(policy)
        if not isinstance(table, dict) or not isinstance(table.get("all"), dict):
            raise UserError(f"{path}: {policy}", f"{table!r:.60}", "counts per mode and for all")
        for mode, counts in table.items():
            whole = isinstance(counts, dict) and all(isinstance(counts.get(name), int) for name in asdict(Counts()))
            if not whole or not all(f"{what}_{form}" in counts for what in ("hack", "solve") for form in ("rate", "sem")):
                raise UserError(
                    f"{path}: {policy}.{mode}", f"{counts!r:.60}", f"the counts {', '.join(asdict(Counts()))}, and rates"
                )
    return record


def with_sem(counts: Row, what: str) -> str:
    """A rate with its standard error, which the answers to one problem alone do not have."""
    if not counts["n"]:
        return "-"
    rate = f"{counts[f'{what}_rate']:.3f}"
    sem = counts[f"{what}_sem"]
    return rate if counts["n"] == 1 or sem is None or sem != sem else f"{rate} ± {sem:.3f}"
