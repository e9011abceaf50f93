"""Split the published tests, `assert Solution().m(kw=literal) == literal`, by AST into inputs and expected value.

Invariant: test text is parsed and never executed; a Case holds only plain values that sandbox.jail.values can carry, so the
oracle can compare every one of them. What does not split raises Unsplit with the reason; nothing is skipped silently.
"""

import ast
import json
import keyword
import math
import re
from collections.abc import Callable
from typing import Any, TypeVar

from sandbox.jail.values import BadValue, encode
from vgrout.records import Case

T = TypeVar("T")


# The common form: every value of numbers in brackets and plain strings, which JSON reads as Python does.
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_VALUE = r'(?:[0-9,\-\[\]. ]|"[^"\\\x00-\x1f\x7f\ud800-\udfff]*")+'
_COMMON = re.compile(rf"assert Solution\(\)\.({_NAME})\(((?:{_NAME} = {_VALUE})*)\) == ({_VALUE})")
_WORD = re.compile(rf"({_NAME}) = ({_VALUE})")
_DEEPEST = 50  # opening brackets; Python's parser refuses about 200 within each other


class Unsplit(ValueError):
    """A test that is not of a form that can be split; the message says what was found."""


def split_asserts(test: str, entry: str) -> list[Case]:
    """Return the cases of one test text: one assert on `Solution().<entry>`, or a `check(candidate)` function of asserts."""
    if (common := _common(test, entry)) is not None:
        return [common]
    try:
        body = ast.parse(test).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Unsplit(f"not Python: {error}") from None
    cases: list[Case] = []
    for node in body:
        if isinstance(node, ast.FunctionDef) and node.name == "check" and len(node.args.args) == 1:
            name = node.args.args[0].arg
            cases += [_split(one, entry, candidate=name) for one in node.body]
        elif not _is_check_call(node, entry):
            cases.append(_split(node, entry, candidate=None))
    if not cases:
        raise Unsplit("no assert")
    return cases


def _common(test: str, entry: str) -> Case | None:
    """The case of a test of the common form, a third of the time; None leaves the test to Python's parser."""
    found = _COMMON.fullmatch(test)
    if found is None or found[1] != entry or test.count("[") > _DEEPEST:
        return None
    words = _WORD.findall(found[2])
    names = {name for name, _ in words}
    if len(names) != len(words) or any(map(keyword.iskeyword, names)):
        return None
    try:
        # All but the last value end with the comma that parts them from the next word.
        values = [json.loads(text.removesuffix(", ")) for _, text in words[:-1]] + [json.loads(text) for _, text in words[-1:]]
        case = Case((), dict(zip((name for name, _ in words), values, strict=True)), json.loads(found[3]))
        encode(case.expected)
    except (ValueError, BadValue):  # no JSON, or more digits than Python reads
        return None
    return case


def _is_check_call(node: ast.stmt, entry: str) -> bool:
    """`check(Solution().m)` after the function says nothing new."""
    return isinstance(node, ast.Expr) and ast.unparse(node) == f"check(Solution().{entry})"


def _split(node: ast.stmt, entry: str, candidate: str | None) -> Case:
    if not isinstance(node, ast.Assert):
        raise Unsplit(f"a {type(node).__name__} where an assert was expected")
    test = node.test
    if not (isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq)):
        raise Unsplit(f"an assert that is no `call == value`: {ast.unparse(test)[:80]}")
    call = test.left
    if not isinstance(call, ast.Call) or not _is_target(call.func, entry, candidate):
        raise Unsplit(f"the left side {ast.unparse(call)[:80]} is no call of {candidate or f'Solution().{entry}'}")
    if any(isinstance(argument, ast.Starred) for argument in call.args) or any(word.arg is None for word in call.keywords):
        raise Unsplit("starred arguments")
    case = Case(
        args=tuple(literal(argument) for argument in call.args),
        kwargs={str(word.arg): literal(word.value) for word in call.keywords},
        expected=literal(test.comparators[0]),
    )
    try:
        encode(case.expected)
    except BadValue as error:
        raise Unsplit(f"an expected value that is {error}") from None
    return case


def _is_target(node: ast.expr, entry: str, candidate: str | None) -> bool:
    """Whether a called name is `candidate`, or where there is none, `Solution().<entry>`."""
    if candidate is not None:
        return isinstance(node, ast.Name) and node.id == candidate
    if not (isinstance(node, ast.Attribute) and node.attr == entry and isinstance(node.value, ast.Call)):
        return False
    made = node.value
    return isinstance(made.func, ast.Name) and made.func.id == "Solution" and not made.args and not made.keywords


def literal(node: ast.expr) -> Any:
    """The value of a literal, with `inf` and `float("inf")` allowed. Raises Unsplit for anything else, NaN included."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float, str, bytes, bool, type(None)):
        return node.value
    if isinstance(node, ast.List):
        return [literal(item) for item in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(literal(item) for item in node.elts)
    if isinstance(node, ast.Set):
        return _hashed(lambda: {literal(item) for item in node.elts})
    if isinstance(node, ast.Dict) and all(key is not None for key in node.keys):
        return _hashed(lambda: {literal(key): literal(value) for key, value in zip(node.keys, node.values, strict=True) if key})
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        value = literal(node.operand)
        if type(value) in (int, float):
            return -value if isinstance(node.op, ast.USub) else value
    if ast.unparse(node).replace('"', "'") in ("inf", "math.inf", "float('inf')"):
        return math.inf
    if ast.unparse(node).replace('"', "'") == "float('-inf')":
        return -math.inf
    raise Unsplit(f"not a literal: {ast.unparse(node)[:80]}")


def _hashed(build: Callable[[], T]) -> T:
    try:
        return build()
    except TypeError as error:
        raise Unsplit(str(error)) from None
