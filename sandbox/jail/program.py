"""One run of model-written code: what the trusted side hands to the child, and how it crosses.

Invariant: a Program holds inputs and nothing that tells an answer: no expected value and no canonical solution, in any task.
It crosses by marshal in one direction only, from the trusted side to the child; both run the same interpreter.
"""

import marshal
import os
from dataclasses import dataclass
from enum import StrEnum
from types import CodeType


class Task(StrEnum):
    """What the child does with the code. Each task is a process of its own."""

    SOLVE = "solve"  # run the code, call the method on every input, report every output
    RUN_TESTS = "run_tests"  # call the response's run_tests beside a stub of the class
    RUN_OWN_TESTS = "run_own_tests"  # call the response's run_tests beside its own class


@dataclass(frozen=True)
class Program:
    """What one child runs.

    `sources` are readings of the completion; the first that compiles counts. `inputs` are marshalled (args, kwargs), unpacked
    afresh for every call. `flags` are the attributes of a fresh Solution() to report; `files` are words, and a file whose name
    contains one is the result file; `token` marks the facts that the child reports.
    """

    task: Task
    setup: CodeType
    sources: tuple[str, ...]
    entry: str
    inputs: tuple[bytes, ...] = ()
    flags: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    token: bytes = b""

    def dump(self) -> bytes:
        """Bytes for `undump` in the child."""
        fields = (self.setup, self.sources, self.entry, self.inputs, self.flags, self.files, self.token)
        return marshal.dumps((self.task.value, *fields))


def undump(descriptor: int) -> Program:
    """The child's copy of the Program, from the file that holds its dump."""
    size = os.fstat(descriptor).st_size
    data = b""
    while len(data) < size:
        data += os.pread(descriptor, size - len(data), len(data))
    task, *fields = marshal.loads(data)
    return Program(Task(task), *fields)
