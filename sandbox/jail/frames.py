"""The result stream between the untrusted child and the trusted side: a sequence of small framed messages.

Invariant: nothing in the stream is believed for being well formed. The reader yields whole frames in order or raises
BadStream; the trusted side accepts a frame only where the protocol allows it and judges outputs by comparing values,
so a program that forges frames has still to know the answers.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

HEADER = struct.Struct(">cII")
MAX_STREAM = 8 << 20


class Kind(Enum):
    """What a frame says. BROKEN: the jail could not be put on, so the program was not run."""

    COMPILED = b"C"
    SYNTAX_ERROR = b"S"
    READY = b"R"
    VALUE = b"V"
    UNPLAIN = b"U"
    RAISED = b"X"
    OUT_OF_MEMORY = b"M"
    FACT = b"F"
    END = b"E"
    BROKEN = b"B"


@dataclass(frozen=True)
class Frame:
    """One message: its kind, the index of the test that it answers (0 elsewhere), its payload."""

    kind: Kind
    index: int
    payload: bytes


class BadStream(ValueError):
    """The stream is no sequence of frames, or larger than MAX_STREAM bytes (then `too_long` is set)."""

    def __init__(self, reason: str, *, too_long: bool = False) -> None:
        super().__init__(reason)
        self.too_long = too_long


def pack(kind: Kind, index: int = 0, payload: bytes = b"") -> bytes:
    """Return the bytes of one frame."""
    return HEADER.pack(kind.value, index, len(payload)) + payload


class FrameReader:
    """Cuts an incoming byte stream into frames."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._total = 0

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """Yield the frames that `chunk` completes. Raises BadStream."""
        self._held += chunk
        self._total += len(chunk)
        if self._total > MAX_STREAM:
            raise BadStream("the result stream is too long", too_long=True)
        at = 0
        while len(self._held) - at >= HEADER.size:
            tag, index, size = HEADER.unpack_from(self._held, at)
            if size > MAX_STREAM:
                raise BadStream("a frame is too long", too_long=True)
            try:
                kind = Kind(tag)
            except ValueError:
                raise BadStream("a frame of unknown kind") from None
            end = at + HEADER.size + size
            if len(self._held) < end:
                break
            yield Frame(kind, index, bytes(self._held[at + HEADER.size : end]))
            at = end
        del self._held[:at]

    @property
    def clean(self) -> bool:
        """Whether no half frame is held back."""
        return not self._held
