"""The result file: whole frames come back as they were written, and a malformed file is refused without being held."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.jail.frames import BadStream, Kind, pack, read_frames

frames = st.lists(st.tuples(st.sampled_from(Kind), st.integers(0, 2**32 - 1), st.binary(max_size=40)), max_size=8)


@given(frames)
def test_frames_come_back_as_they_were_written(sent: list[tuple[Kind, int, bytes]]) -> None:
    file = io.BytesIO(b"".join(pack(*frame) for frame in sent))
    assert [(frame.kind, frame.index, frame.payload(40)) for frame in read_frames(file)] == sent


@given(frames)
def test_payloads_that_nobody_asks_for_are_passed_over(sent: list[tuple[Kind, int, bytes]]) -> None:
    file = io.BytesIO(b"".join(pack(*frame) for frame in sent))
    assert [(frame.kind, frame.size) for frame in read_frames(file)] == [(kind, len(payload)) for kind, _, payload in sent]


@given(st.binary(max_size=300))
def test_arbitrary_bytes_yield_frames_or_are_refused(data: bytes) -> None:
    try:
        for frame in read_frames(io.BytesIO(data)):
            assert frame.payload(300) in data
    except BadStream:
        return


@pytest.mark.parametrize("damaged", [b"V\0\0", b"?" + bytes(8), pack(Kind.VALUE, 0, b"abc")[:-1]])
def test_a_cut_or_unknown_frame_is_refused(damaged: bytes) -> None:
    with pytest.raises(BadStream):
        for frame in read_frames(io.BytesIO(damaged)):
            frame.payload(100)


def test_a_payload_over_the_limit_is_refused_unread() -> None:
    class Unread(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            assert size is not None and 0 <= size <= 64
            return super().read(size)

    (frame,) = read_frames(Unread(b"V" + bytes(4) + (1 << 31).to_bytes(4, "big") + b"x" * 100))
    with pytest.raises(BadStream, match="over its limit"):
        frame.payload(64)
