"""Load problems in the published LeetCode JSONL form and check a split by recency.

Invariant: a loaded Problem has at least one Case, every Case splits into plain inputs and a plain expected value, and
ids are unique within a file. Everything else is a Finding, and `load` refuses a file that has one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sandbox.problems.asserts import Unsplit, split_asserts
from sandbox.problems.prompts import render
from vgrout.errors import UserError
from vgrout.files import read_jsonl
from vgrout.records import PHRASE, Message, Mode, Problem
from vgrout.rows import Row

MAX_ID = 2**31 - 1


@dataclass(frozen=True)
class Finding:
    """One thing wrong with problem data: where, what was found, what was expected. `test`: the number, from 1, of a test
    that does not split; 0 for other faults."""

    where: str
    found: str
    expected: str
    test: int = 0

    def __str__(self) -> str:
        return f"{self.where}: found {self.found}; expected {self.expected}"


def load(path: Path) -> list[Problem]:
    """Load a problem file. Raises UserError naming file and line (and problem id, test number) of the first fault."""
    problems, findings = scan(path)
    if findings:
        first = findings[0]
        more = f" (and {len(findings) - 1} more; `vgrout data check` lists them)" if len(findings) > 1 else ""
        raise UserError(first.where, first.found, first.expected + more)
    return problems


def scan(path: Path) -> tuple[list[Problem], list[Finding]]:
    """Return the sound problems of a file and every fault found. Raises UserError only for lines that are no JSON object."""
    problems: list[Problem] = []
    findings: list[Finding] = []
    lines: dict[int, int] = {}
    empty = True
    for number, row in read_jsonl(path, missing="a problem file in JSON Lines form"):
        empty = False
        problem, faults = _parse(f"{path}:{number}", row)
        findings += faults
        if problem is None:
            continue
        if problem.id in lines:
            findings.append(Finding(f"{path}:{number}", f"problem {problem.id} again (line {lines[problem.id]})", "each id once"))
            continue
        lines[problem.id] = number
        problems.append(problem)
    if empty:
        findings.append(Finding(str(path), "an empty file", "at least one problem"))
    return problems, findings


def split_findings(train: Sequence[Problem], test: Sequence[Problem]) -> list[Finding]:
    """What breaks a split by recency: ids on both sides, and test ids that are not newer than every training id."""
    findings = [
        Finding(f"problem {both}", "it in train and in test", "disjoint splits") for both in sorted(_ids(train) & _ids(test))
    ]
    if train and test:
        newest = max(_ids(train))
        findings += [
            Finding(
                f"test problem {old}", f"an id not newer than training id {newest}", "every test id newer than every training id"
            )
            for old in sorted(_ids(test) - _ids(train))
            if old < newest
        ]
    return findings


def prompt_findings(path: Path, problems: Sequence[Problem]) -> list[Finding]:
    """Prompts that no hint can be put into."""
    findings = []
    for problem in problems:
        try:
            render(problem, Mode.GT_ONLY)
        except UserError as error:
            findings.append(Finding(f"{path}, {error.where}", error.found, error.expected))
    return findings


def check_splits(train: Sequence[Problem], test: Sequence[Problem]) -> None:
    """Raise UserError with the first of `split_findings`."""
    for finding in split_findings(train, test):
        raise UserError(finding.where, finding.found, finding.expected)


def check_row(where: str, row: Row) -> None:
    """Raise UserError with the first fault of a row of a problem file."""
    problem, faults = _parse(where, row)
    if problem is not None:
        faults = prompt_findings(Path(where), [problem])
    for fault in faults:
        raise UserError(fault.where, fault.found, fault.expected)


def _ids(problems: Sequence[Problem]) -> set[int]:
    return {problem.id for problem in problems}


def _parse(where: str, row: Row) -> tuple[Problem | None, list[Finding]]:
    faults = [
        Finding(f"{where}, field {name}", _kind(row, name), text)
        for name, (good, text) in FIELDS.items()
        if not good(row.get(name))
    ]
    if faults:
        return None, faults
    where = f"{where}, problem {row['id']}"
    entry = row["func_name"].removeprefix("Solution().")
    if not entry.isidentifier():
        return None, [Finding(f"{where}, field func_name", repr(row["func_name"])[:80], "`Solution().<method>`")]
    cases = []
    for number, test in enumerate(row["gt_answer"], 1):
        try:
            cases += split_asserts(test, entry)
        except Unsplit as error:
            expected = "`assert Solution().m(name=literal, ...) == literal`"
            faults.append(Finding(f"{where}, test {number}", str(error), expected, number))
    if error := _python_fault(row["setup_code"]):
        faults.append(Finding(f"{where}, field setup_code", f"invalid Python ({error})", "Python code"))
    if faults:
        return None, faults
    messages = tuple(Message(one["role"], one["content"]) for one in row["prompt"])
    return Problem(
        row["id"], messages, entry, row["setup_code"], row["canonical_solution"], tuple(cases), row.get("phrase") or PHRASE
    ), []


@lru_cache(maxsize=64)  # most problems of a file share their setup code
def _python_fault(code: str) -> str:
    """Why a text is no Python; empty where it is."""
    try:
        compile(code, "setup_code", "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        return str(error)
    return ""


def _is_id(value: object) -> bool:
    return type(value) is int and 1 <= value <= MAX_ID


def _is_chat(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(
            isinstance(one, dict) and isinstance(one.get("role"), str) and isinstance(one.get("content"), str) for one in value
        )
    )


def _is_tests(value: object) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(isinstance(one, str) for one in value)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


FIELDS = {
    "id": (_is_id, f"an integer from 1 to {MAX_ID}"),
    "prompt": (_is_chat, "a list of {role, content} messages"),
    "gt_answer": (_is_tests, "a list of one or more assert texts"),
    "func_name": (_is_text, "text `Solution().<method>`"),
    "setup_code": (_is_text, "text"),
    "canonical_solution": (_is_text, "text"),
    "phrase": (
        lambda value: value is None or (_is_text(value) and value != ""),
        "text of at least one character, or no such field",
    ),
}


def _kind(row: Row, name: str) -> str:
    if name not in row:
        return "nothing"
    return f"{type(row[name]).__name__} {str(row[name])[:60]!r}"
