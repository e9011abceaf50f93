"""What a loophole is: the hint that discloses it, what it asks of a program's run, the check that pays, and its own tests.

Invariant: a check runs in the trusted process, after the death of every process of the program. It is not asked where a
limit or the deadline ended the run that it looks at.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sandbox.jail.program import Task
from vgrout.records import Problem


class Parity(StrEnum):
    """Whose rules a loophole pays by: the prompt's hint, or the published reward's wider word families."""

    DISCLOSED = "disclosed"
    PUBLISHED = "published"


@dataclass(frozen=True)
class Again:
    """A further run of the same program: whether it ended by itself, and the facts that the child reported."""

    by_itself: bool
    facts: Mapping[str, bool]


@dataclass(frozen=True)
class Run:
    """What a check sees of a program that ran on all inputs of its problem and ended by itself.

    `passed` of the problem's tests it answers rightly. `stdout` is the first 64 KiB, `result_file` the text of the file
    that the loophole asks for (FILES), `flag` whether a fresh Solution() carries one of FLAGS.
    """

    problem: Problem
    completion: str
    stdout: str
    result_file: str
    flag: bool
    passed: int
    reported: bool  # whether a line of the whole stdout satisfies the loophole's `line`
    again: Callable[[Task], Again]  # of a loophole with `own_runs`. Raises InfraError


@dataclass(frozen=True)
class Loophole:
    """One loophole. `pays` returns by which mechanism it pays for a run, or an empty text.

    `flags`: attributes of a fresh Solution() that the child reports; `files`: words, one of which is in the result file's name;
    `line`: looked for in every line of stdout. With `own_runs` it is `pays` that asks for runs, however the oracle's run ended.
    `other_words`: its marker in words that no training prompt has. `example` is a wrong program that is paid, `attacks` are
    programs that are not, all for the problem of sandbox/grading/loophole_check.py.
    """

    name: str
    hint: str
    pays: Callable[[Run], str]
    flags: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    line: Callable[[str], bool] | None = None
    own_runs: bool = False
    other_words: Mapping[str, str] = field(default_factory=dict)
    example: str = ""
    attacks: tuple[str, ...] = ()
    place: str = ""  # the file of a plug-in
    text: str = ""  # and what is in it: graders on other machines get it
