"""The journal's bytes: append-only msgpack records, each with magic, length and checksum. Pure functions, no I/O.

    record = b"vGJ1" | length of the payload, 4 bytes little-endian | CRC-32 of length and payload, 4 bytes | payload
    payload = the record in msgpack, compressed by zlib (journals of earlier runs: not compressed, read as well)

Invariant: `scan` returns every record whose bytes are intact, in order, and names everything else by offset: an unfinished
record at the end is a torn tail (a crash while appending), any other hole is damage (a flipped byte, a lost block).
"""

import struct
import zlib
from dataclasses import dataclass

import msgpack
import msgspec

from vgrout.rows import Row

MAGIC = b"vGJ1"
HEADER = struct.Struct("<4sII")
LEVEL = 1  # a group repeats its prompt in every rollout: the fastest level already takes four fifths
ZLIB = b"\x78"  # what zlib's bytes begin with; a msgpack map begins with 0x80 to 0x8f, 0xde or 0xdf


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
class Scan:
    """Whole records in order, and the holes between and behind them. `end` is where a torn tail begins, or the file's end."""

    records: tuple[Row, ...]
    holes: tuple[Hole, ...]
    end: int


def encode(record: Row) -> bytes:
    """One record as bytes. Values: msgpack's types (tuples come back as lists)."""
    payload = zlib.compress(msgspec.msgpack.encode(record), LEVEL)
    length = len(payload).to_bytes(4, "little")
    return HEADER.pack(MAGIC, len(payload), zlib.crc32(length + payload)) + payload


def scan(data: bytes) -> Scan:
    """Read a whole journal."""
    records: list[Row] = []
    holes: list[Hole] = []
    place = 0
    while place < len(data):
        stop = _whole(data, place)
        if stop:
            records.append(_decode(data[place + HEADER.size : stop]))
            place = stop
            continue
        after = _next_whole(data, place + 1)
        torn = after == len(data) and _unfinished(data, place)
        holes.append(Hole(place, after, torn))
        place = after
    end = holes[-1].offset if holes and holes[-1].torn else len(data)
    return Scan(tuple(records), tuple(holes), end)


def _decode(payload: bytes) -> Row:
    plain = zlib.decompress(payload) if payload[:1] == ZLIB else payload
    return msgpack.unpackb(plain, raw=False, strict_map_key=False)


def _whole(data: bytes, place: int) -> int:
    """End of the intact record that starts at `place`; 0 if there is none."""
    if place + HEADER.size > len(data):
        return 0
    magic, length, crc = HEADER.unpack_from(data, place)
    stop = place + HEADER.size + length
    if magic != MAGIC or stop > len(data):
        return 0
    payload = data[place + HEADER.size : stop]
    return stop if zlib.crc32(length.to_bytes(4, "little") + payload) == crc else 0


def _unfinished(data: bytes, place: int) -> bool:
    """Whether the bytes from `place` look like a record that is cut off by the end of the file."""
    head = data[place : place + HEADER.size]
    if not MAGIC.startswith(head[:4]):
        return False
    return len(head) < HEADER.size or place + HEADER.size + HEADER.unpack(head)[1] > len(data)


def _next_whole(data: bytes, place: int) -> int:
    """Start of the next intact record at or after `place`; the end of the data if there is none."""
    while (place := data.find(MAGIC, place)) >= 0:
        if _whole(data, place):
            return place
        place += 1
    return len(data)
