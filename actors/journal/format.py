"""The journal's bytes: append-only msgpack records, each with magic, length and checksum, read one at a time.

    record = b"vGJ1" | length of the payload, 4 bytes little-endian | CRC-32 of length and payload, 4 bytes | payload
    payload = the record in msgpack, compressed by zstd (journals of earlier runs: by zlib or not at all; read as well)

Invariant: `walk` gives every record whose bytes are intact, in order, and names everything else by offset: an unfinished
record at the end is a torn tail (a crash while appending), any other hole is damage (a flipped byte, a lost block).
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import msgpack
import msgspec
import zstandard

from vgrout.rows import Row

MAGIC = b"vGJ1"
HEADER = struct.Struct("<4sII")
LEVEL = 1  # a group repeats its prompt in every rollout: the fastest level already takes most of it
CHUNK = 2**20  # bytes that are searched at a time for the next record after damage
ZSTD, ZLIB = b"\x28", b"\x78"  # what their bytes begin with; a msgpack map begins with 0x80 to 0x8f, 0xde or 0xdf


@dataclass(frozen=True)
class Hole:
    """Bytes [offset, end) that are no whole record. `torn`: the unfinished last record, which a crash leaves."""

    offset: int
    end: int
    torn: bool

    def __str__(self) -> str:
        what = "unfinished last record" if self.torn else "damaged record"
        return f"{what} at byte {self.offset} ({self.end - self.offset} bytes)"


@dataclass(frozen=True)
class Place:
    """The bytes [offset, end) of a record."""

    offset: int
    end: int


def encode(record: Row) -> bytes:
    """One record as bytes. Values: msgpack's types (tuples come back as lists)."""
    payload = zstandard.compress(msgspec.msgpack.encode(record), LEVEL)
    length = len(payload).to_bytes(4, "little")
    return HEADER.pack(MAGIC, len(payload), zlib.crc32(length + payload)) + payload


def walk(file: BinaryIO) -> Iterator[tuple[Place, Row] | Hole]:
    """Whole records in order, and the holes between and behind them. No more than one record is in memory."""
    size, place = file.seek(0, 2), 0
    while place < size:
        payload = _payload(file, place, size)
        if payload is not None:
            stop = place + HEADER.size + len(payload)
            yield Place(place, stop), decode(payload)
        else:
            stop = _next_whole(file, place + 1, size)
            yield Hole(place, stop, torn=stop == size and _unfinished(file, place, size))
        place = stop


def read_at(file: BinaryIO, place: Place) -> bytes:
    """The bytes of a record that `walk` found."""
    file.seek(place.offset)
    return file.read(place.end - place.offset)


def decode(payload: bytes) -> Row:
    """The record of a payload."""
    plains = {ZSTD: zstandard.decompress, ZLIB: zlib.decompress}
    plain = plains[payload[:1]](payload) if payload[:1] in plains else payload
    return msgpack.unpackb(plain, raw=False, strict_map_key=False)


def _payload(file: BinaryIO, place: int, size: int) -> bytes | None:
    """The payload of the intact record that starts at `place`; None if there is none."""
    file.seek(place)
    head = file.read(HEADER.size)
    if len(head) < HEADER.size:
        return None
    magic, length, crc = HEADER.unpack(head)
    if magic != MAGIC or place + HEADER.size + length > size:
        return None
    payload = file.read(length)
    return payload if zlib.crc32(length.to_bytes(4, "little") + payload) == crc else None


def _unfinished(file: BinaryIO, place: int, size: int) -> bool:
    """Whether the bytes from `place` look like a record that is cut off by the end of the file."""
    file.seek(place)
    head = file.read(HEADER.size)
    if not MAGIC.startswith(head[:4]):
        return False
    return len(head) < HEADER.size or place + HEADER.size + HEADER.unpack(head)[1] > size


def _next_whole(file: BinaryIO, place: int, size: int) -> int:
    """Start of the next intact record at or after `place`; the end of the data if there is none."""
    while place < size:
        file.seek(place)
        at = file.read(CHUNK + len(MAGIC) - 1).find(MAGIC)
        if at >= 0 and _payload(file, place + at, size) is not None:
            return place + at
        place += at + 1 if at >= 0 else CHUNK
    return size
