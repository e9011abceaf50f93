"""Small problems with known answers, and one-line grading of a piece of code."""

from sandbox.grading.grader import Grader
from vgrout.records import Audit, Case, GradeJob, Mode, Problem, Reward


def make_problem(cases: list[Case], entry: str = "solve", canonical: str = "") -> Problem:
    return Problem(7, (), entry, "from typing import *\n", canonical, tuple(cases))


def squares(count: int = 8) -> Problem:
    """solve(n) = n * n + 1"""
    canonical = "class Solution:\n    def solve(self, n):\n        return n * n + 1\n"
    return make_problem([Case((), {"n": n}, n * n + 1) for n in range(count)], canonical=canonical)


def grade(grader: Grader, problem: Problem, code: str, mode: str = Mode.GT_ONLY) -> tuple[Reward, Audit]:
    return grader.grade(GradeJob("r1", problem, mode, f"```python\n{code}\n```"))
