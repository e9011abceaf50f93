"""How a question came out: one line of the checklist, with the criterion and the number that decides it."""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How a line came out."""

    PASS = "pass"
    FAIL = "fail"
    OPEN = "open"


@dataclass(frozen=True)
class Line:
    """One line: what is asked, the criterion, the outcome and the number that decides it."""

    question: str
    criterion: str
    outcome: Outcome
    number: str


def decide(met: bool, known: bool = True) -> Outcome:
    """Pass, fail, or open where it is not known."""
    return Outcome.OPEN if not known else Outcome.PASS if met else Outcome.FAIL
