"""The tagged encoding and its comparison: as Python's `==` on plain values has it, whatever the bytes are, at bounded cost."""

import math
import tracemalloc
from collections import Counter, OrderedDict, defaultdict, namedtuple
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.jail.values import MAX_DEPTH, MAX_INT_BYTES, MAX_NODES, BadValue, Match, compare, encode, text_of

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=-(2**700), max_value=2**700),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=())),  # lone surrogates too
    st.binary(max_size=50),
)
hashables = st.recursive(scalars, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=4), max_leaves=6)
plain = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.tuples(inner, inner),
        st.sets(hashables, max_size=4),
        st.dictionaries(hashables, inner, max_size=4),
    ),
    max_leaves=30,
)


def shape(value: Any) -> Any:
    """The value with its exact types spelt out, so that True, 1 and 1.0 differ. Order of sets and dicts is left out."""
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [shape(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return type(value).__name__, sorted(map(repr, map(shape, value)))
    if isinstance(value, dict):
        return "dict", sorted(repr((shape(key), shape(item))) for key, item in value.items())
    return type(value).__name__, repr(value)


def numbers_as(value: Any, turn: Any) -> Any:
    """The value with every number replaced by an equal one of another type where there is one."""
    if type(value) in (bool, int, float):
        return turn(value)
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(numbers_as(item, turn) for item in value)
    if type(value) is dict:
        return {numbers_as(key, turn): numbers_as(item, turn) for key, item in value.items()}
    return value


def to_float(number: Any) -> Any:
    return float(number) if abs(number) < 2**53 else number


def to_int(number: Any) -> Any:
    return int(number) if type(number) is not float or number.is_integer() else number


@given(plain)
def test_a_value_matches_itself_exactly(value: Any) -> None:
    assert compare(encode(value), value) is Match.SAME


@given(plain, plain)
def test_two_values_match_where_python_says_that_they_are_equal(one: Any, other: Any) -> None:
    assert (compare(encode(one), other) is not Match.DIFFERENT) == (one == other)


@given(plain, st.sampled_from([to_float, to_int]))
def test_equal_numbers_of_other_types_match_and_are_told(value: Any, turn: Any) -> None:
    other = numbers_as(value, turn)
    assert other == value
    match = compare(encode(other), value)
    assert match is (Match.SAME if shape(other) == shape(value) else Match.EQUAL)


@given(plain, st.binary(max_size=200))
def test_arbitrary_bytes_do_not_match_by_accident(expected: Any, data: bytes) -> None:
    assert compare(data, expected) is Match.DIFFERENT or len(data) <= 16 * len(encode(expected))


@given(plain, st.data())
def test_damaged_bytes_raise_nothing(value: Any, data: st.DataObject) -> None:
    raw = bytearray(encode(value))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    assert compare(bytes(raw), value) in Match


@given(plain)
def test_a_cut_or_longer_encoding_is_different(value: Any) -> None:
    raw = encode(value)
    for damaged in (raw[:-1], raw + b"N", b""):
        assert compare(damaged, value) is Match.DIFFERENT


def test_what_is_equal_in_other_order_matches() -> None:
    assert compare(encode({"b": 2, "a": {3, 1, 2}}), {"a": {1.0, 2, 3}, "b": 2}) is Match.EQUAL
    assert compare(encode(frozenset({True})), {1}) is Match.EQUAL
    assert compare(encode({(2, 1): 0, (1, True): 1}), {(1, 1): 1, (2, 1): 0}) is Match.EQUAL
    assert compare(encode([1, 2]), (1, 2)) is Match.DIFFERENT


class Yes(int):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__

    def __int__(self) -> int:
        return 7


class Color(IntEnum):
    RED = 7


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "plain_value"),
    [
        (Color.RED, 7),
        (Counter("aab"), {"a": 2, "b": 1}),
        (defaultdict(int, a=1), {"a": 1}),
        (OrderedDict(a=1), {"a": 1}),
        (Point(1, 2), (1, 2)),
        (Yes(0), 0),
    ],
)
def test_a_subclass_is_written_as_what_it_holds_and_cannot_lie(value: Any, plain_value: Any) -> None:
    assert encode([value]) == encode([plain_value])


def test_a_value_that_equals_a_plain_one_is_written_as_that_one() -> None:
    equal = [
        (Decimal(7), 7),
        (Decimal("0.5"), 0.5),
        (Fraction(7, 2), 3.5),
        (7 + 0j, 7),
        ({1: 2}.keys(), {1}),
        (bytearray(b"x"), b"x"),
    ]
    equal += [(numpy.int64(7), 7), (numpy.float32(0.5), 0.5), (numpy.bool_(True), True), (Decimal("inf"), float("inf"))]
    for value, plain in equal:
        assert value == plain
        assert encode([value]) == encode([plain]), value


@pytest.mark.parametrize(
    "value", [object(), int, (n for n in ()), range(3), 1j, memoryview(b"x"), Decimal("0.1"), Fraction(1, 3)]
)
def test_only_plain_types_are_encoded(value: Any) -> None:
    for wrapped in (value, [value], {"k": value}):
        with pytest.raises(BadValue):
            encode(wrapped)


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def test_depth_integers_and_parts_are_limited() -> None:
    assert compare(encode(nested(MAX_DEPTH)), nested(MAX_DEPTH)) is Match.SAME
    cycle: list[Any] = []
    cycle.append(cycle)
    big = 1 << (8 * MAX_INT_BYTES)
    for value in (nested(MAX_DEPTH + 1), nested(900), cycle, big, -big, [[0]] * MAX_NODES):
        with pytest.raises(BadValue):
            encode(value)


BOMBS = {
    "colliding tuples": b"E\0\0\x08\0" + (b"U\0\0\x01\xe0" + b"Z\0\0\0\0" * 480) * 2048,
    "empty sets": b"L\0\x0f\x3e\x58" + b"Z\0\0\0\0" * 999_000,
    "depth": b"L\0\0\0\1" * 1_000_000,
    "length": b"L\xff\xff\xff\xff" + b"N" * 1_000_000,
    "a huge integer": b"I\0\x0f\xff\xff" + b"\1" * 0xFFFFF,
    "the right start": encode(list(range(50)))[:-9] + b"L\0\x0f\x3e\x58" + b"Z\0\0\0\0" * 999_000,
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("expected", [list(range(50)), {1, 2}, {"a": 1}, 7, 2**70, "text"], ids=repr)
def test_no_bytes_cost_more_than_the_expected_value(name: str, expected: Any) -> None:
    tracemalloc.start()
    assert compare(BOMBS[name], expected) is Match.DIFFERENT
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 16, f"{peak} bytes"


def test_nan_is_carried_and_equals_nothing() -> None:
    for value in (math.nan, [math.nan], {"k": (1, -math.nan)}, {math.nan}):
        assert compare(encode(value), value) is Match.DIFFERENT


def test_text_is_read_and_cut() -> None:
    assert text_of(encode("stopped")) == "stopped"
    assert len(text_of(encode("x" * 100_000))) == 4_000
    assert text_of(encode(7)) == text_of(b"") == text_of(b"S") == ""
