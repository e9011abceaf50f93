"""A small tagged byte encoding of plain Python values, and the comparison of such bytes with a known value.

Invariant: no value is ever built from bytes of an untrusted writer. `compare` walks the *expected* value and checks the bytes
beside it, so its time and memory are bounded by the expected value, whatever the bytes are; it hashes nothing that a program
wrote and raises nothing. Equality is that of plain Python values: exact floats, True == 1 == 1.0, NaN equals nothing.

Set members and dict keys are written in one canonical order, in which equal numbers sort alike (1, 1.0 and True), so two
equal collections line up member by member.

Why not JSON or pickle: json.loads is attackable by depth, 5,000-digit integers and NaN; pickle and marshal run or crash.
"""

import struct
from collections.abc import Callable, ItemsView, Iterable, KeysView
from contextlib import suppress
from enum import Enum
from numbers import Number
from typing import Any

MAX_DEPTH = 64
MAX_NODES = 2_000_000
MAX_INT_BYTES = 8_192
MAX_TEXT = 4_000

_WORD = struct.Struct(">I")
_SMALL = struct.Struct(">q")
_FLOAT = struct.Struct(">d")
_TAGGED_SMALL = struct.Struct(">cq")
_SEQUENCE_TAGS = {list: b"L", tuple: b"U", set: b"E", frozenset: b"Z"}
_SMALLEST, _LARGEST = -(1 << 63), (1 << 63) - 1


class BadValue(ValueError):
    """The value is not plain, or over a limit."""


class Match(Enum):
    """How bytes compare with an expected value. EQUAL: equal in Python, but of other types somewhere (True for 1)."""

    SAME = "same"
    EQUAL = "equal"
    DIFFERENT = "different"


def encode(value: Any) -> bytes:
    """Encode a plain value. Raises BadValue naming what is not plain or which limit it passes.

    An instance of a subclass of a plain type (Counter, namedtuple, IntEnum) is written as the plain value that it holds, and a
    value of another type that equals a plain one (Decimal, dict keys) as that one.
    """
    out = bytearray()
    _Encoder(out).put(value, 0)
    return bytes(out)


def compare(data: bytes, expected: Any, encoded: bytes = b"") -> Match:
    """Compare bytes from an untrusted writer with a value that `encode` takes; `encoded` is what it made of it."""
    wanted = encoded or encode(expected)
    if data == wanted and not _may_hold_nan(wanted):
        return Match.SAME
    walk = _Walk(data)
    try:
        equal = walk.equal(expected) and walk.at == len(data)
    except (struct.error, IndexError):  # the bytes end too early
        equal = False
    if not equal:
        return Match.DIFFERENT
    return Match.SAME if walk.same_types else Match.EQUAL


def text_of(data: bytes) -> str:
    """The text that the bytes encode, cut at MAX_TEXT characters; empty where they encode no text."""
    return data[5 : 5 + MAX_TEXT].decode("utf-8", "replace") if data[:1] == b"S" else ""


class _Encoder:
    """Writes values; `normal` writes equal numbers as equal bytes, for the canonical order."""

    def __init__(self, out: bytearray, normal: bool = False) -> None:
        self.out, self.nodes, self.normal = out, 0, normal

    def put(self, value: Any, depth: int) -> None:
        self.nodes += 1
        if depth > MAX_DEPTH or self.nodes > MAX_NODES:
            raise BadValue("nested too deep" if depth > MAX_DEPTH else "too many parts")
        kind, out = type(value), self.out
        if value is None:
            out += b"N"
        elif kind is bool and not self.normal:
            out += b"T" if value else b"F"
        elif kind is int or kind is bool:
            self._int(int(value))
        elif kind is float:
            self._float(value)
        elif kind is str:
            raw = value.encode("utf-8", "surrogatepass")
            out += b"S" + _WORD.pack(len(raw)) + raw
        elif kind is bytes:
            out += b"B" + _WORD.pack(len(value)) + value
        elif kind in _SEQUENCE_TAGS:
            self._sequence(kind, value, depth)
        elif kind is dict:
            out += b"M" + _WORD.pack(len(value))
            for key in canonical(value):
                self.put(key, depth + 1)
                self.put(value[key], depth + 1)
        else:
            self.put(_plain(value), depth + 1)

    def _int(self, value: int) -> None:
        if _SMALLEST <= value <= _LARGEST:
            self.out += b"J" + _SMALL.pack(value)
            return
        size = value.bit_length() // 8 + 1
        if size > MAX_INT_BYTES:
            raise BadValue("integer too large")
        self.out += b"I" + _WORD.pack(size) + value.to_bytes(size, "big", signed=True)

    def _float(self, value: float) -> None:
        if self.normal and value.is_integer():
            return self._int(int(value))
        self.out += b"D" + _FLOAT.pack(value)

    def _sequence(self, kind: type, value: Any, depth: int) -> None:
        items = canonical(value) if kind in (set, frozenset) else value
        self.out += _SEQUENCE_TAGS[kind] + _WORD.pack(len(value))
        if len(value) > 8 and set(map(type, value)) == {int} and min(value) >= _SMALLEST and max(value) <= _LARGEST:
            self.nodes += len(value)
            self.out += b"".join([_TAGGED_SMALL.pack(b"J", item) for item in items])
            return
        for item in items:
            self.put(item, depth + 1)


# Read out by the plain type's own methods, since a subclass may override them.
_BASES: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (int, int.__int__),
    (float, float.__float__),
    (str, str.__str__),
    (bytes, lambda value: bytes.join(b"", [value])),
    (list, lambda value: [*list.__iter__(value)]),
    (tuple, lambda value: (*tuple.__iter__(value),)),
    (dict, lambda value: dict(dict.items(value))),
    (set, lambda value: {*set.__iter__(value)}),
    (frozenset, lambda value: frozenset(frozenset.__iter__(value))),
)


# Other types whose values equal plain ones in Python.
_EQUALS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (bytearray, bytes),
    (KeysView, set),
    (ItemsView, set),
    (Number, lambda value: _exact_number(value)),
)


def _exact_number(value: Any) -> Any:
    """The int or float that equals a Decimal, a Fraction, a complex or numpy's number; such a number equals no other literal."""
    value = value.real if isinstance(value, complex) and not value.imag else value
    for kind in (int, float):
        with suppress(TypeError, ValueError, OverflowError):
            if (plain := kind(value)) == value:
                return plain
    raise BadValue(f"a {type(value).__name__} that equals no int and no float"[:80])


def _plain(value: Any) -> Any:
    for base, read in _BASES:
        if issubclass(type(value), base):
            plain = read(value)
            if type(plain) is base:
                return plain
    for kind, read in _EQUALS:
        if isinstance(value, kind):
            return read(value)
    if type(value).__module__ == "numpy" and type(value).__name__ in ("bool", "bool_"):
        return bool(value)
    raise BadValue(f"not a plain value: {str(type(value).__name__)[:80]}")


def canonical(members: Iterable[Any]) -> list[Any]:
    """Set members or dict keys in an order that is the same for equal collections. Raises BadValue."""
    return sorted(members, key=_order)


def _order(value: Any) -> bytes:
    if type(value) is str:  # the usual key, without an encoder
        raw = value.encode("utf-8", "surrogatepass")
        return b"S" + _WORD.pack(len(raw)) + raw
    out = bytearray()
    _Encoder(out, normal=True).put(value, 0)
    return bytes(out)


class _Walk:
    """A position in untrusted bytes, moved along by an expected value."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at, self.same_types = data, 0, True

    def equal(self, expected: Any) -> bool:
        tag = self.data[self.at]
        self.at += 1
        kind = type(expected)
        if expected is None:
            return tag == 0x4E
        if kind in (bool, int, float):
            return self._number(tag, expected)
        if kind in (str, bytes):
            raw = expected.encode("utf-8", "surrogatepass") if kind is str else expected
            return tag == (0x53 if kind is str else 0x42) and self._counts(len(raw)) and self._raw(len(raw)) == raw
        if kind in (set, frozenset):
            self.same_types = self.same_types and tag == _SEQUENCE_TAGS[kind][0]
            return tag in b"EZ" and self._counts(len(expected)) and all(map(self.equal, canonical(expected)))
        if kind is dict:
            pairs = (part for key in canonical(expected) for part in (key, expected[key]))
            return tag == 0x4D and self._counts(len(expected)) and all(map(self.equal, pairs))
        return tag == _SEQUENCE_TAGS[kind][0] and self._counts(len(expected)) and all(map(self.equal, expected))

    def _number(self, tag: int, expected: Any) -> bool:
        if tag in b"TF":
            found: Any = tag == 0x54
        elif tag == 0x4A:
            (found,) = _SMALL.unpack(self._raw(8))
        elif tag == 0x44:
            (found,) = _FLOAT.unpack(self._raw(8))
        elif tag == 0x49:
            (size,) = _WORD.unpack(self._raw(4))
            if not 8 <= size <= MAX_INT_BYTES:
                return False
            found = int.from_bytes(self._raw(size), "big", signed=True)
        else:
            return False
        self.same_types = self.same_types and type(found) is type(expected)
        return found == expected

    def _counts(self, count: int) -> bool:
        return _WORD.unpack(self._raw(4))[0] == count

    def _raw(self, size: int) -> bytes:
        piece = self.data[self.at : self.at + size]
        if len(piece) != size:
            raise IndexError
        self.at += size
        return piece


def _may_hold_nan(encoded: bytes) -> bool:
    """Whether equal bytes may stand for unequal values: NaN equals nothing. True for other huge floats too: a walk more."""
    return b"D\x7f" in encoded or b"D\xff" in encoded
