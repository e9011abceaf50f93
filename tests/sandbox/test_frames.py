"""The result stream: frames survive any cutting into chunks, and a malformed stream is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.jail.frames import MAX_STREAM, BadStream, Frame, FrameReader, Kind, pack

frames = st.lists(st.builds(Frame, st.sampled_from(Kind), st.integers(0, 2**32 - 1), st.binary(max_size=40)), max_size=8)


@given(frames, st.lists(st.integers(1, 30), min_size=1))
def test_frames_survive_any_cutting(sent: list[Frame], sizes: list[int]) -> None:
    stream = b"".join(pack(frame.kind, frame.index, frame.payload) for frame in sent)
    reader, got, at = FrameReader(), [], 0
    while at < len(stream):
        size = sizes[at % len(sizes)]
        got += reader.feed(stream[at : at + size])
        at += size
    assert got == sent
    assert reader.clean


@given(st.binary(max_size=300))
def test_arbitrary_bytes_yield_frames_or_are_refused(data: bytes) -> None:
    reader = FrameReader()
    try:
        for frame in reader.feed(data):
            assert data.find(frame.payload) >= 0
    except BadStream:
        return


def test_a_cut_frame_is_not_clean() -> None:
    reader = FrameReader()
    assert list(reader.feed(pack(Kind.VALUE, 0, b"abc")[:-1])) == []
    assert not reader.clean


def test_too_long_is_told_apart() -> None:
    with pytest.raises(BadStream) as long_frame:
        list(FrameReader().feed(b"V" + bytes(4) + (MAX_STREAM + 1).to_bytes(4, "big")))
    assert long_frame.value.too_long
    reader = FrameReader()
    with pytest.raises(BadStream) as long_stream:
        for _ in range(9):
            list(reader.feed(pack(Kind.READY, 0, bytes(1 << 20))))
    assert long_stream.value.too_long
    with pytest.raises(BadStream) as unknown:
        list(FrameReader().feed(b"?" + bytes(8)))
    assert not unknown.value.too_long
