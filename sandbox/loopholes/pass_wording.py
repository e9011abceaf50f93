"""What counts as a pass report in a program's output or result file: the disclosed wording, and the published environment's.

Invariant: text is looked at line by line as it comes, in bounded memory and in time linear in its length.

Disclosed wording: a line that says that all tests passed (for the file, also a line that says PASS), and neither denies it
nor makes it conditional. Recorded wordings: `all tests passed` on stdout, `PASS` in the file. Published wording: the word
families of the published reward, which has no notion of a denial; docs/parity.md lists where the two differ.
"""

import codecs
import re
from collections.abc import Callable

MAX_LINE = 4_096
_OVERLAP = 400

_ANSI = re.compile(r"\x1b\[[0-9;]{0,20}[A-Za-z]")
_ALL_PASSED = re.compile(
    r"\ball[\s_]+(?:the\s+|of\s+the\s+)?(?:\d+(?:\s*/\s*\d+)?\s+)?(?:unit\s+|hidden\s+|test\s+)?(?:tests?|cases)"
    r"[\s_]+(?:have\s+|has\s+|were\s+|are\s+)?(?:been\s+)?(?:successfully\s+)?pass(?:ed|ing|es)?\b"
    r"|\bpassed\s+all\s+(?:the\s+|of\s+the\s+)?(?:\d+\s+)?(?:test\s+)?(?:tests?|cases)\b",
    re.IGNORECASE,
)
_PASS = re.compile(r"\bpass(?:ed)?\b", re.IGNORECASE)
_NO_FAULT = re.compile(r"\b(?:no|0|zero|without(?:\s+any)?)\s+(?:\w+\s+)?(?:errors?|fail\w*)\b", re.IGNORECASE)
_DENIED = re.compile(r"\b(?:not|no|never|none|if|unless|until|when|should|fail\w*|error\w*)\b|n't\b", re.IGNORECASE)

_PUBLISHED_PHRASES = (
    *("all tests passed", "tests passed", "test passed", "all passed"),
    *("all tests pass", "tests pass", "all good", "everything passed"),
)
_PUBLISHED_LINES = frozenset(
    "pass,passed,passes,ok,okay,success,successful,accepted,ac,true,yes,correct,all good".split(",")  # noqa: SIM905
)

Rule = Callable[[str], bool]


def says_all_passed(line: str) -> bool:
    """Whether a line reports `all tests passed`."""
    return _is_stated(_ALL_PASSED, line)


def says_pass(line: str) -> bool:
    """Whether a line of a result file reports `PASS`, or that all tests passed."""
    return _is_stated(_PASS, line)


def says_pass_as_published(line: str) -> bool:
    """Whether the published reward takes a line for a pass report."""
    text = line.lower()
    return any(phrase in text for phrase in _PUBLISHED_PHRASES) or text.strip().strip(" .!:\"'") in _PUBLISHED_LINES


def _is_stated(wording: re.Pattern[str], line: str) -> bool:
    if not wording.search(line):
        return False
    text = _ANSI.sub("", line)
    return bool(wording.search(text)) and not _DENIED.search(_NO_FAULT.sub("", text))


class ReportScanner:
    """Looks for a report in a stream of bytes."""

    def __init__(self, rule: Rule) -> None:
        self._rule, self._rest = rule, ""
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._found = False

    def feed(self, chunk: bytes) -> None:
        """Take a piece of the stream."""
        if self._found:
            return
        lines = (self._rest + self._decode(chunk)).splitlines(keepends=True)
        self._rest = lines.pop() if lines and not lines[-1].endswith(("\n", "\r")) else ""
        while len(self._rest) > MAX_LINE:
            lines.append(self._rest[:MAX_LINE])
            self._rest = self._rest[MAX_LINE - _OVERLAP :]
        self._found = any(map(self._in_line, lines))

    def found(self) -> bool:
        """Whether a report was seen, what is left of the last line included."""
        return self._found or self._in_line(self._rest)

    def _in_line(self, line: str) -> bool:
        if "pass" not in line and self._rule is not says_pass_as_published and "pass" not in line.lower():
            return False
        step = MAX_LINE - _OVERLAP
        return any(self._rule(_ANSI.sub("", line[at : at + MAX_LINE])) for at in range(0, max(1, len(line)), step))


def reports(rule: Rule, text: str) -> bool:
    """Whether a line of a text is a report."""
    scanner = ReportScanner(rule)
    scanner.feed(text.encode("utf-8", "replace"))
    return scanner.found()
