"""Journal: whatever a crash or a bad disk does to the file, intact records come back and every other byte is named."""

import struct
import zlib

import msgpack
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.journal.format import encode, scan
from actors.rollouts.recorder import shortest

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
    assert list(found.records) == records and not found.holes and found.end == places(records)[-1]


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


def test_a_journal_of_an_earlier_version_is_read():
    payload = msgpack.packb({"kind": "resume", "update": 3})
    length = len(payload).to_bytes(4, "little")
    old = struct.pack("<4sII", b"vGJ1", len(payload), zlib.crc32(length + payload)) + payload
    assert [*scan(old + encode({"a": 1})).records] == [{"kind": "resume", "update": 3}, {"a": 1}]


def test_a_group_takes_a_fraction_of_its_plain_bytes():
    rollout = {"prompt_ids": list(range(100, 800, 7)), "completion_ids": list(range(40)), "digest": "ab" * 32}
    record = {"kind": "group", "rollouts": [rollout] * 8}
    assert len(encode(record)) < len(msgpack.packb(record)) / 4


@settings(deadline=None)
@given(st.floats(-100, -0.0009765625, width=32))
def test_the_shortest_decimal_of_a_logprob_is_the_same_float32_in_nine_digits(value):
    short = shortest(value)
    assert np.float32(short) == np.float32(value)
    assert len(repr(short).lstrip("-0.").replace(".", "")) <= 9


def test_a_journaled_group_comes_back_as_it_was(tmp_path):
    from actors.journal.journal import Graded, Journal, read
    from vgrout.group_records import Key
    from vgrout.records import Audit, FinishReason, Mode, Reward, Rollout, Sampling, Status

    rollout = Rollout(
        "4-0", 4, 0, 9, Mode.SENTINEL, (1, 2), (3, 4), (-0.5, -1.25), "x", FinishReason.STOP, Sampling.TRAIN, 2**40, 3, "d"
    )
    audit = Audit("4-0", 9, Mode.SENTINEL, True, False, True, True, "sentinel", Status.WRONG, "strict", 1.5, {"a": [1]})
    group = Graded(Key(4, 1), [rollout], [Reward("4-0", None)], [audit])
    journal = Journal(tmp_path / "journal.bin")
    journal.group(group)
    journal.sync()
    journal.close()
    assert read(tmp_path / "journal.bin", 0).groups == {group.key: group}
