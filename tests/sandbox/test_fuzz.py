"""20 s of hypothesis against what reads untrusted bytes: the comparison, and the oracle's judge behind the frame reader.

The comparison gets whole encodings cut, spliced and overwritten, and runs of its own tags and lengths; the judge gets right files
with frames taken out and put in. Hypothesis prints the input that breaks this, shrunk.
"""

import io
import random
import struct
import time
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_values import plain

from sandbox.grading.oracle import Judge
from sandbox.jail.frames import Kind, pack
from sandbox.jail.supervision import End, Ended
from sandbox.jail.values import Match, compare, encode
from vgrout.records import Case, Status

SECONDS = 20.0
TAGS = b"NTFJIDSBLUEZM"
WORDS = (0, 1, 2, 3, 255, 2048, 2049, 1_000_000, 2**31, 2**32 - 1)
MUTANTS = 100  # of each encoding that hypothesis draws
TOKEN = bytes(16)

relentless = settings(max_examples=200, deadline=None, database=None, suppress_health_check=list(HealthCheck))
parts = st.one_of(
    st.sampled_from([bytes([tag]) for tag in TAGS]),
    st.sampled_from(WORDS).map(struct.Struct(">I").pack),
    st.binary(max_size=9),
    plain.map(encode),
)

# Where, and a frame to put in there; None takes one out.
edits = st.tuples(st.integers(0, 4), st.none() | st.sampled_from(Kind), parts)


def damaged(raw: bytes, rng: random.Random) -> bytes:
    """One to six cuts, splices, doubled parts, strange tags or lengths."""
    out = bytearray(raw)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(out) + 1)
        match rng.randrange(5):
            case 0:
                out[at:at] = raw[rng.randrange(len(raw)) :]
            case 1:
                del out[at : at + rng.randint(1, 8)]
            case 2:
                out[at : at + 1] = bytes([rng.choice(TAGS)])
            case 3:
                out[at : at + 4] = rng.choice(WORDS).to_bytes(4, "big")
            case _:
                out[at : at + 1] = bytes([rng.randrange(256)])
    return bytes(out)


@pytest.mark.slow
def test_fuzz_for_twenty_seconds() -> None:
    seen: Counter[str] = Counter()

    @relentless
    @given(plain, st.randoms(use_true_random=False))
    def damaged_encodings(value: Any, rng: random.Random) -> None:
        raw = encode(value)
        for _ in range(MUTANTS):
            data = damaged(raw, rng)
            match = compare(data, value)
            assert data != raw or match is Match.SAME
            seen[match.value] += 1

    @relentless
    @given(plain, st.lists(parts, max_size=12).map(b"".join))
    def tags_and_lengths(expected: Any, data: bytes) -> None:
        seen[compare(data, expected).value] += 1

    @relentless
    @given(plain, st.lists(edits, max_size=3), st.sampled_from([b"", b"", b"E", b"E" * 9]))
    def edited_files(expected: Any, changes: list[tuple[int, Kind | None, bytes]], tail: bytes) -> None:
        """Everything in the file is the program's word."""
        right = [(Kind.READY, b""), (Kind.VALUE, encode(expected)), (Kind.END, b"")]
        frames = list(right)
        for at, kind, payload in changes:
            if kind is None:
                del frames[at : at + 1]
            else:
                frames.insert(at, (kind, payload))
        judge = Judge((Case((), {}, expected),), TOKEN)
        judge.read(io.BytesIO(b"".join(pack(kind, 0, payload) for kind, payload in frames) + tail))
        status = judge.status(Ended(End.EXITED, 0, 1.0, b"JC"))
        seen[str(status)] += 1
        good = {
            Kind.VALUE: lambda payload: compare(payload, expected) is not Match.DIFFERENT,
            Kind.END: lambda payload: not payload,
        }
        says = [(kind, kind not in good or good[kind](payload)) for kind, payload in frames]
        passes = says == [(Kind.READY, True), (Kind.VALUE, True), (Kind.END, True)] and not tail
        assert (status is Status.PASS) == passes

    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        for fuzz in (damaged_encodings, tags_and_lengths, edited_files):
            fuzz()
    print(f"inputs: {dict(seen)}")
    assert min(seen[kind] for kind in ("same", "different", "wrong", "pass")) > 50, f"the fuzz reached too little: {seen}"
