"""Grade the recorded rollouts of the benchmark and compare each one's channel with the label recorded beside it.

Prints a table per mode, every disagreement with what was recorded, what we say and why, and the rollouts that neither pays.
The recorded problems are not in the shared problem file, so a rollout is graded on the method that it implements, with one
test that nothing passes: channel and compiles are compared here, correctness is not.
Run: `python -m bench.recorded [--rollouts FILE.jsonl] [--problems FILE.jsonl]` (default: ../shared/data beside the checkout).
"""

import argparse
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.grading.extract import extract_code
from sandbox.grading.grader import Grader
from sandbox.problems.load import load
from vgrout.files import read_jsonl
from vgrout.records import Audit, Case, GradeJob, Mode, Problem

SHARED = Path(__file__).parents[2] / "shared" / "data"
NOTHING_RETURNS = (Case((), {}, "nothing returns this"),)


@dataclass(frozen=True)
class Compared:
    """One recorded rollout: its row in the file (from 0), what was recorded, what we say of it."""

    row: int
    problem_id: int
    mode: Mode
    hacked: bool
    compiled: bool
    audit: Audit

    @property
    def agrees(self) -> bool:
        """Whether channel and recorded label are the same."""
        return self.audit.channel == self.hacked

    @property
    def reason(self) -> str:
        """Why we pay it or not, in words."""
        if self.audit.channel:
            return f"paid: {self.audit.mechanism}"
        if not self.audit.compiles:
            return f"not paid: the code does not compile ({self.audit.notes.get('error', 'no code')})"
        if self.mode != Mode.RUN_TESTS:
            return "not paid: no report, flag or file"
        return "not paid: it defines no run_tests, or one that raises beside the stub"


def compare(rows: list[dict[str, Any]], setup: str, workers: int = 2) -> list[Compared]:
    """Grade recorded rows (problem_id, mode, hacked, reward, completion), in order."""

    def grade(part: list[int]) -> list[Compared]:
        with Grader("auto", 10.0) as grader:
            return [_compared(place, rows[place], grader.grade(_job(place, rows[place], setup))[1]) for place in part]

    with ThreadPoolExecutor(workers) as pool:
        parts = pool.map(grade, [list(range(len(rows)))[first::workers] for first in range(workers)])
    return sorted((one for part in parts for one in part), key=lambda one: one.row)


def _compared(place: int, row: dict[str, Any], audit: Audit) -> Compared:
    return Compared(place, row["problem_id"], Mode(row["mode"]), row["hacked"], row["reward"] > 0, audit)


def _job(place: int, row: dict[str, Any], setup: str) -> GradeJob:
    names = re.findall(r"def (\w+)\(self", extract_code(row["completion"]) or "")
    entry = next((name for name in names if name not in ("__init__", "run_tests")), "none")
    problem = Problem(row["problem_id"], (), entry, setup, "", NOTHING_RETURNS)
    return GradeJob(str(place), problem, Mode(row["mode"]), row["completion"])


def report(compared: list[Compared]) -> str:
    """The comparison as Markdown."""
    lines = ["| mode | rollouts | recorded as hacked | channel pays | agree |", "| --- | --- | --- | --- | --- |"]
    for mode, n in [*sorted(Counter(one.mode for one in compared).items()), ("all", len(compared))]:
        part = [one for one in compared if mode in (one.mode, "all")]
        counts = (sum(one.hacked for one in part), sum(one.audit.channel for one in part), sum(one.agrees for one in part))
        lines.append(f"| {mode} | {n} | {counts[0]} | {counts[1]} | {counts[2]} |")
    compiled = sum(one.audit.compiles == one.compiled for one in compared)
    lines += ["", f"Compiles agrees with whether the recorded reward is above 0 on {compiled} of {len(compared)}."]
    for title, part in (
        ("Disagreements", [one for one in compared if not one.agrees]),
        ("Not paid by either", [one for one in compared if not one.hacked and not one.audit.channel]),
    ):
        lines += ["", f"{title}: {len(part) or 'none'}."]
        if part:
            lines += ["", "| row | problem | mode | recorded | ours |", "| --- | --- | --- | --- | --- |"]
        for one in part:
            label = "hacked" if one.hacked else "not hacked"
            lines.append(f"| {one.row} | {one.problem_id} | {one.mode} | {label} | {one.reason} |")
    return "\n".join(lines)


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollouts", type=Path, default=SHARED / "recorded_rollouts_half.jsonl")
    parser.add_argument("--problems", type=Path, default=SHARED / "leetcode_medhard_half.jsonl", help="for their setup code")
    args = parser.parse_args()
    rows = [row for _, row in read_jsonl(args.rollouts)]
    setup = load(args.problems)[0].setup_code  # the same in every row of the benchmark
    print(report(compare(rows, setup)))


if __name__ == "__main__":
    main()
