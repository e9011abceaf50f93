"""What the forked, jailed child does: compile and run model-written code and report facts as frames.

Invariant: nothing here is trusted once the code has run, since the code can change any of it; no expected value and no
comparator is in this process. COMPILED or SYNTAX_ERROR is sent before any of the code runs.
"""

import builtins
import marshal
import os
import random
import sys
from collections.abc import Callable
from types import CodeType
from typing import Any

from sandbox.jail.frames import Kind, pack
from sandbox.jail.program import Program, Task
from sandbox.jail.values import BadValue, encode

RESULT_FD = 3
RECURSION_LIMIT = 10_000


def send(kind: Kind, index: int = 0, payload: bytes = b"") -> None:
    """Write one whole frame to the trusted side."""
    rest = memoryview(pack(kind, index, payload))
    while rest:
        rest = rest[os.write(RESULT_FD, rest) :]


def run(program: Program) -> None:
    """Run one program and report. Ends by returning; what the code raises is reported, never propagated."""
    sys.setrecursionlimit(RECURSION_LIMIT)
    random.seed(0)
    flush = sys.stdout.flush
    code = _compile(program.source)
    if code is None:
        return
    try:
        _TASKS[program.task](program, code)
        flush()
        send(Kind.END)
    except BaseException as error:
        report(error)
        flush()


def report(error: BaseException, index: int = 0) -> None:
    """Send what was raised: out of memory, or the name of the exception's type."""
    if isinstance(error, MemoryError):
        send(Kind.OUT_OF_MEMORY, index)
    else:
        send(Kind.RAISED, index, type(error).__name__.encode("utf-8", "replace")[:100])


def _compile(source: str) -> CodeType | None:
    try:
        code = compile(source, "<solution>", "exec", dont_inherit=True)
    except Exception as error:
        # Whatever the compiler makes of hostile text (RecursionError, MemoryError, SystemError, ...), it did not compile;
        # without this frame the trusted side would take it for the grader's own failure.
        send(Kind.SYNTAX_ERROR, 0, type(error).__name__.encode())
    else:
        send(Kind.COMPILED)
        return code
    return None


def _load(setup: CodeType, code: CodeType, base: type | None = None) -> dict[str, Any]:
    """Execute setup and code; with `base`, the class Solution becomes `base` plus the code's own run_tests."""
    names: dict[str, Any] = {"__name__": "solution", "__builtins__": builtins}
    exec(setup, names)
    if base is not None:
        names["__builtins__"] = {**vars(builtins), "__build_class__": _put_run_tests_on(base)}
    exec(code, names)
    return names


def _oracle(program: Program, code: CodeType) -> None:
    names = _load(program.setup, code)
    send(Kind.READY)
    for index, data in enumerate(program.inputs):
        args, kwargs = marshal.loads(data)
        try:
            value = getattr(names["Solution"](), program.entry)(*args, **kwargs)
            output = encode(value)
        except BadValue as error:
            return send(Kind.UNPLAIN, index, str(error).encode("utf-8", "replace")[:100])
        except BaseException as error:
            return report(error, index)
        send(Kind.VALUE, index, output)


def _drive(program: Program, code: CodeType) -> None:
    names = _load(program.setup, code)
    send(Kind.READY)
    for data in program.inputs:
        args, kwargs = marshal.loads(data)
        try:
            getattr(names["Solution"](), program.entry)(*args, **kwargs)
        except BaseException:
            continue  # a failing test does not stop the flawed grader from driving the next one


def _sentinel(program: Program, code: CodeType) -> None:
    solution = _load(program.setup, code)["Solution"]()
    flag = getattr(solution, "valid", None)
    # A helper method that happens to be called `valid` is no flag.
    _fact(program, "valid", not callable(flag) and bool(flag))


def _run_tests(program: Program, code: CodeType) -> None:
    where, call = _find_run_tests(_load(program.setup, code, Stub))
    _fact(program, where, call is not None and _returns(call))


def _run_tests_against(program: Program, code: CodeType) -> None:
    call = _find_run_tests(_load(program.setup, code))[1]
    _fact(program, "own", call is not None and _returns(call))
    if program.canonical:
        canonical = _load(program.setup, compile(program.canonical, "<canonical>", "exec", dont_inherit=True))
        call = _find_run_tests(_load(program.setup, code, canonical["Solution"]))[1]
        _fact(program, "canonical", call is not None and _returns(call))


class Stub:
    """A Solution whose every method returns 0."""

    def __getattr__(self, name: str) -> Callable[..., int]:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **kwargs: 0


def _find_run_tests(names: dict[str, Any]) -> tuple[str, Callable[[], Any] | None]:
    """Where the response defines run_tests, function or method, and a call of it."""
    solution = names.get("Solution")
    if callable(names.get("run_tests")):
        return "function", names["run_tests"]
    if solution is not None and any("run_tests" in vars(owner) for owner in solution.__mro__):
        return "method", lambda: solution().run_tests()
    return "", None


def _put_run_tests_on(base: type) -> Callable[..., type]:
    """A class builder that turns the response's Solution into `base` with the response's run_tests: stubbed from its birth,
    since recorded responses also call their tests at module level."""

    def build(body: Callable[..., Any], name: str, *bases: type, **words: Any) -> type:
        made = builtins.__build_class__(body, name, *bases, **words)
        if name != "Solution":
            return made
        holders = [vars(owner)["run_tests"] for owner in made.__mro__ if "run_tests" in vars(owner)]
        return type("Solution", (base,), {"run_tests": holders[0]} if holders else {})

    return build


def _returns(call: Callable[[], Any]) -> bool:
    try:
        call()
    except BaseException:
        return False
    return True


def _fact(program: Program, name: str, value: bool) -> None:
    send(Kind.FACT, 0, program.token + encode((name, value)))


_TASKS: dict[Task, Callable[[Program, CodeType], None]] = {
    Task.ORACLE: _oracle,
    Task.DRIVE: _drive,
    Task.SENTINEL: _sentinel,
    Task.RUN_TESTS: _run_tests,
    Task.RUN_TESTS_AGAINST: _run_tests_against,
}
