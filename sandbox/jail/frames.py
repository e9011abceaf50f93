"""The result of a run: a file of small framed messages that the untrusted child wrote and that is read once it is dead.

Invariant: nothing in the file is believed for being well formed. `read_frames` yields headers in order and reads a payload
only on request and up to the reader's own limit, so the trusted side holds no more than it asked for. The trusted side accepts
a frame only where the protocol allows it and compares outputs by value, so a program that forges frames still has to know
the answers.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import BinaryIO

HEADER = struct.Struct(">cII")
MAX_RESULT = 32 << 20
MAX_FACT = 64


class Kind(Enum):
    """What a frame says."""

    READY = b"R"
    VALUE = b"V"
    UNPLAIN = b"U"
    RAISED = b"X"
    OUT_OF_MEMORY = b"M"
    FACT = b"F"
    END = b"E"


class BadStream(ValueError):
    """The file is no sequence of whole frames."""


@dataclass(frozen=True)
class Frame:
    """One message: its kind, the index of the test that it answers (0 elsewhere), the size of its payload in bytes."""

    kind: Kind
    index: int
    size: int
    file: BinaryIO

    def payload(self, limit: int) -> bytes:
        """The payload, once, where it is at most `limit` bytes. Raises BadStream where it is longer or cut short."""
        if self.size > limit:
            raise BadStream("a payload over its limit")
        data = self.file.read(self.size)
        if len(data) != self.size:
            raise BadStream("a cut frame")
        return data


def pack(kind: Kind, index: int = 0, payload: bytes = b"") -> bytes:
    """Return the bytes of one frame."""
    return HEADER.pack(kind.value, index, len(payload)) + payload


def read_frames(file: BinaryIO) -> Iterator[Frame]:
    """Yield the frames of a file from its start. Raises BadStream for a header that is cut or of no known kind."""
    at = 0
    while True:
        file.seek(at)
        header = file.read(HEADER.size)
        if not header:
            return
        if len(header) < HEADER.size:
            raise BadStream("a cut frame")
        tag, index, size = HEADER.unpack(header)
        try:
            kind = Kind(tag)
        except ValueError:
            raise BadStream("a frame of unknown kind") from None
        yield Frame(kind, index, size, file)
        at += HEADER.size + size
