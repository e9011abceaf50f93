"""Contamination: no problem of one split is asked again in the other or in the authored pairs, under any wording of its hint.

Invariant: two prompts that differ only in hint, case, punctuation or white space count as the same.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from sandbox.problems.load import Finding
from sandbox.problems.prompts import HINTS
from vgrout.errors import UserError
from vgrout.files import read_jsonl
from vgrout.records import PHRASE, Message, Pair, Problem

_NO_WORD = re.compile(r"[\W_]+")


@lru_cache(maxsize=1)
def _any(hints: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, hints)))


def normalised(messages: Sequence[Message], phrase: str = PHRASE, hints: Mapping[str, str] = HINTS) -> str:
    """What a chat asks: the words of its user messages, without hint (or its phrase), case, punctuation and white space."""
    asked = " ".join(message.content for message in messages if message.role == "user").replace(phrase, " ")
    return _NO_WORD.sub(" ", _any(tuple(hints.values())).sub(" ", asked)).strip().casefold()


def prompt_overlaps(train: Sequence[Problem], test: Sequence[Problem]) -> list[Finding]:
    """Test problems that ask what a training problem asks."""
    asked = {normalised(problem.messages, problem.phrase): problem.id for problem in train}
    return [
        Finding(f"test problem {problem.id}", f"the prompt of training problem {asked[text]}", "disjoint splits")
        for problem in test
        if (text := normalised(problem.messages, problem.phrase)) in asked
    ]


def pair_overlaps(
    path: Path, pairs: Sequence[Pair], problems: Sequence[Problem], hints: Mapping[str, str] = HINTS
) -> list[Finding]:
    """Pairs whose prompt or `problem_id` is that of a problem of either split."""
    asked, ids = (
        {normalised(problem.messages, problem.phrase): problem.id for problem in problems},
        {problem.id for problem in problems},
    )
    used = {pair.id for pair in pairs}
    rows = {str(row["id"]): row.get("problem_id") for _, row in read_jsonl(path) if str(row["id"]) in used}
    findings = []
    for pair in pairs:
        where, expected = f"{path}, pair {pair.id}", "a problem of neither split"
        if (text := normalised(pair.messages, hints=hints)) in asked:
            findings.append(Finding(where, f"the prompt of problem {asked[text]}", expected))
        if rows[pair.id] in ids:
            findings.append(Finding(where, f"problem_id {rows[pair.id]}, which is in a split", expected))
    return findings


def check_overlaps(
    train: Sequence[Problem], test: Sequence[Problem], path: Path, pairs: Sequence[Pair], hints: Mapping[str, str] = HINTS
) -> None:
    """Raise UserError with the first overlap between train, test and pairs."""
    for finding in [*prompt_overlaps(train, test), *pair_overlaps(path, pairs, [*train, *test], hints)]:
        raise UserError(finding.where, finding.found, finding.expected)
