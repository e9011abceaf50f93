"""The tagged encoding: round trips exactly, and no bytes crash, hang or fool the decoder."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.jail.values import MAX_DEPTH, MAX_HASHED, MAX_INT_BYTES, BadValue, decode, encode

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


@given(plain)
def test_round_trip_keeps_value_and_exact_types(value: Any) -> None:
    again = decode(encode(value))
    assert shape(again) == shape(value)
    assert again == value


@given(plain, plain)
def test_equal_bytes_mean_equal_values(one: Any, other: Any) -> None:
    if encode(one) == encode(other):
        assert one == other


@given(st.binary(max_size=200))
def test_arbitrary_bytes_decode_or_are_refused(data: bytes) -> None:
    try:
        value = decode(data)
    except BadValue:
        return
    assert encode(value)  # whatever decodes is plain


@given(plain, st.data())
def test_damaged_bytes_decode_or_are_refused(value: Any, data: st.DataObject) -> None:
    raw = bytearray(encode(value))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode(bytes(raw))
    except BadValue:
        return


@given(plain)
def test_a_cut_or_longer_encoding_is_refused(value: Any) -> None:
    raw = encode(value)
    for damaged in (raw[:-1], raw + b"N"):
        with pytest.raises(BadValue):
            decode(damaged)


class Int(int):
    pass


class Text(str):
    pass


class Many(list):
    pass


@pytest.mark.parametrize("value", [Int(1), Text("x"), Many([1]), object(), int, (n for n in ()), range(3), 1j, bytearray(b"x")])
def test_only_exact_plain_types_are_encoded(value: Any) -> None:
    for wrapped in (value, [value], {"k": value}):
        with pytest.raises(BadValue):
            encode(wrapped)


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def test_depth_integers_and_hashed_parts_are_limited() -> None:
    assert decode(encode(nested(MAX_DEPTH))) == nested(MAX_DEPTH)
    cycle: list[Any] = []
    cycle.append(cycle)
    big = 1 << (8 * MAX_INT_BYTES)
    for value in (nested(MAX_DEPTH + 1), nested(900), cycle, big, -big, set(range(MAX_HASHED + 1)), [[0]] * 600_000):
        with pytest.raises(BadValue):
            encode(value)


def test_raw_bytes_over_the_limits_are_refused() -> None:
    for raw in (
        b"L\0\0\0\1" * 100_000 + b"N",
        b"L\xff\xff\xff\xffN",
        b"I\0\xff\xff\xff" + b"\1" * 0xFFFFFF,
        b"E\0\0\xff\xff" + b"N" * 0xFFFF,
        b"M\0\0\0\2TNTN",
        b"E\0\0\0\1L\0\0\0\0",
    ):
        with pytest.raises(BadValue):
            decode(raw)


def test_nan_is_carried_and_equals_nothing() -> None:
    assert math.isnan(decode(encode(math.nan)))
    assert decode(encode([math.nan])) != [math.nan]
