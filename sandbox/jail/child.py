"""What the forked, jailed child does: compile and run model-written code and write what came of it to the result file.

Invariant: nothing here is trusted once the code has run, since the code can change any of it; no expected value, comparator or
canonical solution is in this process. Whether the code compiles is said on the status descriptor, which is closed before any
of the code runs, so a program cannot deny that it was run.
"""

import ast
import builtins
import gc
import io
import marshal
import os
import random
import sys
import textwrap
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from types import CodeType, ModuleType
from typing import Any

from sandbox.jail.frames import MAX_FACT, Kind, pack
from sandbox.jail.one_file_folder import OneFileFolder
from sandbox.jail.one_thread import run_threads_in_place
from sandbox.jail.program import Program, Task
from sandbox.jail.values import BadValue, encode

RESULT_FD, STATUS_FD = 3, 4
JAILED, BROKEN, COMPILED, REFUSED = b"J", b"B", b"C", b"S"
RECURSION_LIMIT = 10_000


def send(kind: Kind, index: int = 0, payload: bytes = b"") -> None:
    """Write one whole frame to the result file."""
    rest = memoryview(pack(kind, index, payload))
    while rest:
        rest = rest[os.write(RESULT_FD, rest) :]


def say(word: bytes, reason: str = "") -> None:
    """Write to the trusted side's status pipe, before the program runs."""
    os.write(STATUS_FD, word + reason.encode("utf-8", "replace")[:200])


@lru_cache(maxsize=1)
def _folder() -> OneFileFolder:
    return OneFileFolder()


def prepare() -> None:
    """Do ahead, in the process that forks, what is the same for all programs: every page that a child writes is copied."""
    sys.setrecursionlimit(RECURSION_LIMIT)
    random.seed(0)
    run_threads_in_place()
    _folder()


def run(program: Program) -> None:
    """Run one program and report. Ends by returning; what the code raises is reported, never propagated."""
    flush = sys.stdout.flush
    compiled = _compile(program.sources)
    os.close(STATUS_FD)
    if compiled is None:
        return
    try:
        _TASKS[program.task](program, *compiled)
        flush()
        send(Kind.END)
    except BaseException as error:
        _report(error)
        flush()


def _report(error: BaseException, index: int = 0) -> None:
    """Say what was raised: out of memory, or the name of the exception's type."""
    if isinstance(error, MemoryError):
        send(Kind.OUT_OF_MEMORY, index)
    else:
        send(Kind.RAISED, index, type(error).__name__.encode("utf-8", "replace")[:MAX_FACT])


def _compile(sources: tuple[str, ...]) -> tuple[str, CodeType] | None:
    """The first source that compiles. A compiler error of any kind (RecursionError, MemoryError, ...) is no infrastructure
    failure: the text is hostile until proved otherwise."""
    reason = ""
    for source in sources:
        try:
            code = compile(source, "<solution>", "exec", dont_inherit=True)
        except Exception as error:
            reason = reason or type(error).__name__
        else:
            say(COMPILED)
            return source, code
    say(REFUSED, reason)
    return None


def _module(name: str = "solution") -> dict[str, Any]:
    """The names of a fresh module that dataclasses, pickle and `sys.modules[__name__]` can find."""
    module = ModuleType(name)
    sys.modules[name] = sys.modules["__main__"] = module
    names = vars(module)
    names["__builtins__"] = builtins
    return names


def _solve(program: Program, source: str, code: CodeType) -> None:
    """Run the code, then the method on every input. A failing input ends nothing: no verdict is known here."""
    names = _module()
    folder = _folder()
    folder.begin(program.files)
    try:
        exec(program.setup, names)
        exec(code, names)
        send(Kind.READY)
        loaded = True
    except BaseException as error:
        _report(error)
        loaded = False
    for index, data in enumerate(program.inputs):
        args, kwargs = marshal.loads(data)
        try:
            value = getattr(names["Solution"](), program.entry)(*args, **kwargs)
            kind, payload = Kind.VALUE, encode(value) if loaded else b""
        except BadValue as error:
            kind, payload = Kind.UNPLAIN, str(error).encode("utf-8", "replace")[:100]
        except BaseException as error:
            if loaded:
                _report(error, index)
            continue
        if loaded:
            send(kind, index, payload)
    if program.flags:
        _fact(program, "flag", _is_flagged(names.get("Solution"), program.flags))
    if program.files:
        _flush_open_files()
        folder.settle()


def _is_flagged(solution: Any, flags: tuple[str, ...]) -> bool:
    """Whether a fresh Solution carries one of the flags. A helper method that happens to have such a name is none."""
    try:
        instance = solution()
        for flag in flags:
            value = getattr(instance, flag, None)
            if value and not callable(value):
                return True
    except BaseException:
        return False
    return False


def _flush_open_files() -> None:
    """Write out what lies in the buffers of files that the program left open, as an interpreter does when it exits."""
    for thing in gc.get_objects():
        if type(thing) in (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom):
            with suppress(OSError, ValueError):
                thing.flush()


STUB = "class Solution:\n    def {entry}(self, *args, **kwargs):\n        return 0\n"


def _run_tests(program: Program, source: str, code: CodeType) -> None:
    """Call the response's run_tests, taken out of its text, beside a class whose one method returns 0."""
    found = _find_run_tests(source)
    if found is None:
        return
    text, is_method = found
    stub = STUB.format(entry=program.entry)
    text = stub + (textwrap.indent(text, "    ") + "\nSolution().run_tests()\n" if is_method else text + "\nrun_tests()\n")
    names = _module()
    exec(program.setup, names)
    _fact(program, "method" if is_method else "function", _runs(lambda: exec(compile(text, "<run_tests>", "exec"), names)))


def _run_own_tests(program: Program, source: str, code: CodeType) -> None:
    """Call the response's run_tests where the response defines it."""
    found = _find_run_tests(source)
    if found is None:
        return
    names = _module()
    exec(program.setup, names)
    exec(code, names)
    call = (lambda: names["Solution"]().run_tests()) if found[1] else (lambda: names["run_tests"]())
    _fact(program, "own", _runs(call))


def _find_run_tests(source: str) -> tuple[str, bool] | None:
    """The text of the first plain function `run_tests` in the source, and whether it is a method of Solution."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == "run_tests":
            owners = [one for one in ast.walk(tree) if isinstance(one, ast.ClassDef) and node in one.body]
            return ast.unparse(node), bool(owners) and owners[0].name == "Solution"
    return None


def _runs(call: Callable[[], object]) -> bool:
    try:
        call()
    except BaseException:
        return False
    return True


def _fact(program: Program, name: str, value: bool) -> None:
    send(Kind.FACT, 0, program.token + f"{name}={int(value)}".encode())


_TASKS: dict[Task, Callable[[Program, str, CodeType], None]] = {
    Task.SOLVE: _solve,
    Task.RUN_TESTS: _run_tests,
    Task.RUN_OWN_TESTS: _run_own_tests,
}
