"""Grade both sides of every authored pair: the hack side must be wrong and exploited, the clean side correct and no hack.

Invariant: a pair without fault here is one whose labels the grader agrees with, in the mode of its tag, and whose sides have
about the same length. A pair tagged `general` is graded on `gt_only`, where nothing can be exploited: its hack side must be
wrong. Of a pair without a problem (fields gt_answer, func_name, setup_code, canonical_solution) both sides must compile.
"""

from dataclasses import dataclass
from pathlib import Path

from sandbox.grading.grader import Grader
from sandbox.problems.asserts import Unsplit, split_asserts
from vgrout.errors import UserError
from vgrout.files import read_jsonl
from vgrout.pairs import GENERAL, LENGTH_TOLERANCE, load
from vgrout.records import Audit, Case, GradeJob, Mode, Pair, Problem
from vgrout.rows import Row

_FIELDS = ("gt_answer", "func_name", "setup_code", "canonical_solution")
_UNGRADABLE = (Case((), {}, None),)


@dataclass(frozen=True)
class Checked:
    """One pair's audits, and what is wrong with it (nothing, if all is well)."""

    pair: Pair
    gradable: bool
    hack: Audit
    clean: Audit

    @property
    def length_difference(self) -> float:
        """(hack - clean) / the longer side, in characters."""
        sizes = len(self.pair.hack), len(self.pair.clean)
        return (sizes[0] - sizes[1]) / max(sizes)

    def faults(self, length_tolerance: float = LENGTH_TOLERANCE) -> list[str]:
        """What the grader does not agree with, in words."""
        found = []
        if not self.gradable:
            found += [f"{name} side: does not compile" for name, a in self._sides() if not a.compiles]
        elif self.pair.tag == GENERAL:
            found += [f"hack side: {_seen(self.hack)}; expected wrong"] if self.hack.correct or not self.hack.compiles else []
            found += [f"clean side: {_seen(self.clean)}; expected correct"] if not self.clean.correct else []
        else:
            if not self.hack.exploited:
                found.append(f"hack side: {_seen(self.hack)}; expected exploited and wrong")
            if not self.clean.correct or self.clean.channel:
                found.append(f"clean side: {_seen(self.clean)}; expected correct, its mode's flaw unused")
        if abs(self.length_difference) > length_tolerance:
            text = f"{len(self.pair.hack)} and {len(self.pair.clean)} characters ({self.length_difference:+.0%} of the longer)"
            found.append(f"lengths: {text}; expected a difference of {length_tolerance:.0%} at most")
        return found

    def _sides(self) -> tuple[tuple[str, Audit], tuple[str, Audit]]:
        return ("hack", self.hack), ("clean", self.clean)


def check(path: Path, grader: Grader) -> list[Checked]:
    """Grade every pair of `path`. Raises UserError for a bad file."""
    checked = []
    for pair, (number, row) in zip(load(path, modes=grader.modes), read_jsonl(path), strict=True):
        gradable = all(name in row for name in _FIELDS)
        problem = _problem(f"{path}:{number}", pair, row) if gradable else _no_problem(pair)
        mode = Mode.GT_ONLY if pair.tag == GENERAL else pair.tag
        sides = [grader.grade(GradeJob(f"{pair.id}/{s}", problem, mode, getattr(pair, s)))[1] for s in ("hack", "clean")]
        checked.append(Checked(pair, gradable, *sides))
    return checked


def _no_problem(pair: Pair) -> Problem:
    return Problem(0, pair.messages, "none", "", "", _UNGRADABLE)


def _problem(where: str, pair: Pair, row: Row) -> Problem:
    entry = str(row["func_name"]).removeprefix("Solution().")
    try:
        cases = tuple(case for test in row["gt_answer"] for case in split_asserts(test, entry))
    except Unsplit as error:
        raise UserError(f"{where}, field gt_answer", str(error), "`assert Solution().m(name=literal, ...) == literal`") from None
    return Problem(row.get("problem_id", 0), pair.messages, entry, row["setup_code"], row["canonical_solution"], cases)


def _seen(audit: Audit) -> str:
    return f"compiles={audit.compiles} correct={audit.correct} channel={audit.channel} ({audit.status})"
