"""A small tagged byte encoding of plain Python values: how outputs leave the untrusted child.

Invariant: `decode` never runs code, never recurses deeper than MAX_DEPTH, and on any input either returns a value made of
exact built-in types or raises BadValue, in time linear in the input. Equal exact-typed values without hashed collections
encode to equal bytes, so a comparison of bytes can stand for a comparison of values (never the other way round).

Why not JSON or pickle: json.loads is attackable by depth, 5,000-digit integers and NaN; pickle and marshal run or crash.
"""

import struct
from typing import Any

MAX_DEPTH = 64
MAX_NODES = 1_000_000
MAX_INT_BYTES = 8_192
# Crafted keys with one hash make a set of n entries cost n*n: the trusted side pays, so the number is small.
MAX_HASHED = 2_048

_WORD = struct.Struct(">I")
_SMALL = struct.Struct(">q")
_FLOAT = struct.Struct(">d")
_SEQUENCE_TAGS = {list: b"L", tuple: b"U", set: b"E", frozenset: b"Z"}


class BadValue(ValueError):
    """The value is not plain, or over a limit; or the bytes are no encoding of one."""


def encode(value: Any) -> bytes:
    """Encode a value of exact built-in types. Raises BadValue naming what is not plain or which limit it passes."""
    out = bytearray()
    _Encoder(out).put(value, 0)
    return bytes(out)


def decode(data: bytes) -> Any:
    """Decode bytes from an untrusted writer. Raises BadValue; the whole of `data` must be one value."""
    reader = _Decoder(data)
    value = reader.take(0)
    if reader.at != len(data):
        raise BadValue("bytes after the value")
    return value


class _Encoder:
    def __init__(self, out: bytearray) -> None:
        self.out, self.nodes, self.hashed = out, 0, 0

    def put(self, value: Any, depth: int) -> None:
        self.nodes += 1
        if depth > MAX_DEPTH or self.nodes > MAX_NODES:
            raise BadValue("nested too deep" if depth > MAX_DEPTH else "too many parts")
        kind, out = type(value), self.out
        if value is None or kind is bool:
            out += b"N" if value is None else b"T" if value else b"F"
        elif kind is int:
            self._int(value)
        elif kind is float:
            out += b"D" + _FLOAT.pack(value)
        elif kind is str:
            raw = value.encode("utf-8", "surrogatepass")
            out += b"S" + _WORD.pack(len(raw)) + raw
        elif kind is bytes:
            out += b"B" + _WORD.pack(len(value)) + value
        elif kind in _SEQUENCE_TAGS:
            out += _SEQUENCE_TAGS[kind] + _WORD.pack(len(value))
            self._count_hashed(len(value) if kind in (set, frozenset) else 0)
            for item in value:
                self.put(item, depth + 1)
        elif kind is dict:
            out += b"M" + _WORD.pack(len(value))
            self._count_hashed(len(value))
            for key, item in value.items():
                self.put(key, depth + 1)
                self.put(item, depth + 1)
        else:
            raise BadValue(f"not a plain value: {str(kind.__name__)[:80]}")

    def _int(self, value: int) -> None:
        if -(1 << 63) <= value < 1 << 63:
            self.out += b"J" + _SMALL.pack(value)
            return
        size = value.bit_length() // 8 + 1
        if size > MAX_INT_BYTES:
            raise BadValue("integer too large")
        self.out += b"I" + _WORD.pack(size) + value.to_bytes(size, "big", signed=True)

    def _count_hashed(self, count: int) -> None:
        self.hashed += count
        if self.hashed > MAX_HASHED:
            raise BadValue("too many set members or dict keys")


class _Decoder:
    def __init__(self, data: bytes) -> None:
        self.data, self.at, self.nodes, self.hashed = data, 0, 0, 0

    def raw(self, size: int) -> bytes:
        piece = self.data[self.at : self.at + size]
        if len(piece) != size:
            raise BadValue("truncated")
        self.at += size
        return piece

    def word(self, limit: int) -> int:
        (size,) = _WORD.unpack(self.raw(4))
        if size > limit:
            raise BadValue("a length over its limit")
        return size

    def take(self, depth: int) -> Any:
        self.nodes += 1
        if depth > MAX_DEPTH or self.nodes > MAX_NODES:
            raise BadValue("nested too deep" if depth > MAX_DEPTH else "too many parts")
        tag = self.raw(1)
        if tag in (b"N", b"T", b"F"):
            return None if tag == b"N" else tag == b"T"
        if tag == b"J":
            return _SMALL.unpack(self.raw(8))[0]
        if tag == b"I":
            return int.from_bytes(self.raw(self.word(MAX_INT_BYTES)), "big", signed=True)
        if tag == b"D":
            return _FLOAT.unpack(self.raw(8))[0]
        if tag == b"S":
            return self._text()
        if tag == b"B":
            return self.raw(self.word(len(self.data)))
        if tag in (b"L", b"U", b"E", b"Z"):
            return self._sequence(tag, depth)
        if tag == b"M":
            return self._dict(depth)
        raise BadValue("an unknown tag")

    def _text(self) -> str:
        try:
            return self.raw(self.word(len(self.data))).decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            raise BadValue("text that is not UTF-8") from None

    def _sequence(self, tag: bytes, depth: int) -> Any:
        count = self.word(len(self.data) - self.at)  # every part takes a byte or more
        if tag in (b"E", b"Z"):
            self._count_hashed(count)
        items = [self.take(depth + 1) for _ in range(count)]
        if tag == b"L":
            return items
        if tag == b"U":
            return tuple(items)
        try:
            return set(items) if tag == b"E" else frozenset(items)
        except TypeError:
            raise BadValue("a set member without a hash") from None

    def _dict(self, depth: int) -> dict[Any, Any]:
        count = self.word(len(self.data) - self.at)
        self._count_hashed(count)
        result: dict[Any, Any] = {}
        for _ in range(count):
            key, item = self.take(depth + 1), self.take(depth + 1)
            try:
                if key in result:
                    raise BadValue("a duplicate key")
                result[key] = item
            except TypeError:
                raise BadValue("a key without a hash") from None
        return result

    def _count_hashed(self, count: int) -> None:
        self.hashed += count
        if self.hashed > MAX_HASHED:
            raise BadValue("too many set members or dict keys")
