"""Journal: whatever a crash or a bad disk does to the file, intact records come back and every other byte is named."""

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.journal.format import encode, scan

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
