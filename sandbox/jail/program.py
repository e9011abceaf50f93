"""One run of model-written code: what the trusted side hands to the child, and how it crosses.

Invariant: a Program holds inputs and never an expected value; the canonical solution, which would tell them all, is in that
of Task.RUN_TESTS_AGAINST alone, whose outcome pays nothing. It crosses by marshal in one direction only, from the
trusted side to the child; both run the same interpreter.
"""

import marshal
from dataclasses import dataclass
from enum import StrEnum
from types import CodeType


class Task(StrEnum):
    """What the child does with the code. Each task is a process of its own."""

    ORACLE = "oracle"  # map every input to an output
    DRIVE = "drive"  # call the method on every input, for what it prints or writes; outputs are dropped
    SENTINEL = "sentinel"  # read the pass flag of a fresh Solution()
    RUN_TESTS = "run_tests"  # call the response's run_tests against a stub Solution
    RUN_TESTS_AGAINST = "run_tests_against"  # the same against its own Solution and the canonical one: for the audit


@dataclass(frozen=True)
class Program:
    """What one child runs. `inputs` are marshalled (args, kwargs), unpacked afresh for every call; `token` marks its facts."""

    task: Task
    setup: CodeType
    source: str
    entry: str
    inputs: tuple[bytes, ...] = ()
    canonical: str = ""
    token: bytes = b""

    def dump(self) -> bytes:
        """Bytes for `undump` in the child."""
        return marshal.dumps((self.task.value, self.setup, self.source, self.entry, self.inputs, self.canonical, self.token))


def undump(data: bytes) -> Program:
    """The child's copy of the Program."""
    task, setup, source, entry, inputs, canonical, token = marshal.loads(data)
    return Program(Task(task), setup, source, entry, inputs, canonical, token)
