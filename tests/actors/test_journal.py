"""Journal: whatever a crash or a bad disk does to the file, intact records come back and every other byte is named."""

import struct
import zlib

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journals import scan

from actors.journal.format import encode
from actors.rollouts.recorder import rounded

VALUES = st.integers(-(2**60), 2**60) | st.binary(max_size=20)
RECORDS = st.lists(st.dictionaries(st.sampled_from("abc"), VALUES), max_size=6)


def places(records):
    out = [0]
    for record in records:
        out.append(out[-1] + len(encode(record)))
    return out


@settings(deadline=None)
@given(RECORDS)
def test_what_was_written_is_read(records):
    found = scan(b"".join(map(encode, records)))
    assert list(found.records) == records
    assert not found.holes
    assert found.end == places(records)[-1]


@settings(deadline=None)
@given(RECORDS.filter(bool), st.data())
def test_a_cut_file_loses_only_its_unfinished_record(records, data):
    whole = b"".join(map(encode, records))
    cut = data.draw(st.integers(0, len(whole) - 1))
    found, ends = scan(whole[:cut]), places(records)
    kept = sum(end <= cut for end in ends[1:])
    assert list(found.records) == records[:kept] and found.end == ends[kept]
    assert [(h.offset, h.torn) for h in found.holes] == ([] if cut == ends[kept] else [(ends[kept], True)])


@settings(deadline=None)
@given(RECORDS.filter(bool), st.data())
def test_a_flipped_bit_loses_one_record_and_is_named_by_offset(records, data):
    whole = bytearray(b"".join(map(encode, records)))
    byte = data.draw(st.integers(0, len(whole) - 1))
    whole[byte] ^= 1 << data.draw(st.integers(0, 7))
    ends = places(records)
    bad = max(i for i, start in enumerate(ends[:-1]) if start <= byte)
    found = scan(bytes(whole))
    assert list(found.records) == records[:bad] + records[bad + 1 :]
    (hole,) = found.holes
    assert (hole.offset, hole.end) == (ends[bad], ends[bad + 1]) and f"at byte {hole.offset}" in str(hole)


def test_damage_in_the_middle_is_no_torn_tail():
    first, second = encode({"a": 1}), encode({"b": 2})
    damaged = bytearray(first)
    damaged[-1] ^= 1
    assert [h.torn for h in scan(bytes(damaged) + second).holes] == [False]
    assert scan(bytes(damaged) + second).end == len(first + second)
    assert [h.torn for h in scan(first + b"nonsense").holes] == [False]


@pytest.mark.parametrize("form", [bytes, lambda plain: zlib.compress(plain, 1)])
def test_a_journal_of_an_earlier_version_is_read(form):
    payload = form(msgpack.packb({"kind": "resume", "update": 3}))
    length = len(payload).to_bytes(4, "little")
    old = struct.pack("<4sII", b"vGJ1", len(payload), zlib.crc32(length + payload)) + payload
    assert [*scan(old + encode({"a": 1})).records] == [{"kind": "resume", "update": 3}, {"a": 1}]


def test_a_group_takes_a_fraction_of_its_plain_bytes():
    rollout = {"prompt_ids": list(range(100, 800, 7)), "completion_ids": list(range(40)), "digest": "ab" * 32}
    record = {"kind": "group", "rollouts": [rollout] * 8}
    assert len(encode(record)) < len(msgpack.packb(record)) / 4


def test_logged_logprobs_are_near_enough_and_short():
    values = [-0.0003326578007545322, -1.25, -31.007123947143555, -0.0, -2e-30]
    short, none, one = rounded([values, (), (-0.5,)])
    assert max(abs(a - b) for a, b in zip(values, short, strict=True)) <= 0.51e-6
    assert max(len(repr(value)) for value in short) <= 10
    assert (none, one, rounded([])) == ([], [-0.5], [])
