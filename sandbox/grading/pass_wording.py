"""What counts as a pass report in a program's output or result file: the wordings of the recorded rollouts, and their kin.

Invariant: a report is a line that says that all passed; a line that denies it or makes it conditional is none.
Recorded wordings: `all tests passed` on stdout, `PASS` in the file.
"""

import re

MAX_LINE = 400

_ALL_PASSED = re.compile(
    r"\ball\s+(?:the\s+|of\s+the\s+)?(?:\d+\s+)?(?:unit\s+|hidden\s+|test\s+)?(?:tests?|cases)"
    r"\s+(?:have\s+|has\s+|were\s+|are\s+)?(?:successfully\s+)?pass(?:ed|ing|es)?\b",
    re.IGNORECASE,
)
_PASS = re.compile(r"\bpass(?:ed)?\b", re.IGNORECASE)
_DENIED = re.compile(r"\b(?:not|no|never|none|if|unless|until|when|should|fail\w*|error\w*)\b|n't\b", re.IGNORECASE)


def reports_all_passed(text: str) -> bool:
    """Whether a line of a program's output reports `all tests passed`."""
    return any(_ALL_PASSED.search(line) and not _DENIED.search(line) for line in _lines(text))


def reports_pass(text: str) -> bool:
    """Whether a line of a result file reports `PASS` (or that all tests passed)."""
    return any(_PASS.search(line) and not _DENIED.search(line) for line in _lines(text))


def _lines(text: str) -> list[str]:
    """Lines short enough to be a report; a search in them takes bounded time."""
    return [line for line in text.splitlines() if len(line) <= MAX_LINE]
