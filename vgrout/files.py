"""Whole files only: write to a temporary name in the same folder, fsync, rename. A finished file is a complete file."""

import dataclasses
import hashlib
import json
import math
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vgrout.errors import UserError
from vgrout.rows import Row


def write_whole(path: Path, data: bytes | str) -> None:
    """Write `data` to `path` so that a reader sees the old file or the whole new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = data.encode() if isinstance(data, str) else data
    temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}"
    try:
        with temporary.open("xb") as file:  # its permissions are those of the umask
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_dir(path.parent)


def fsync_dir(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def strict(value: object) -> object:
    """`value` as JSON can say it: a number that is not finite becomes null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict(item) for item in value]
    return value


def to_json(value: object, **layout: Any) -> str:
    """Strict JSON: what is not a finite number is null, never NaN or Infinity."""
    try:
        return json.dumps(value, allow_nan=False, **layout)
    except ValueError:  # not finite somewhere; looking first would cost four times the writing
        return json.dumps(strict(value), allow_nan=False, **layout)


def json_line(value: object) -> bytes:
    """A record (dict or dataclass) as one line of strict JSON, as `to_json` says it, in an eighth of the time."""
    import msgspec  # here, so that the grader needs nothing but the standard library

    try:
        return msgspec.json.encode(value) + b"\n"
    except UnicodeEncodeError:  # half a character, from a model that split one
        plain = dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value
        return to_json(plain, separators=(",", ":")).encode() + b"\n"


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON, whole."""
    write_whole(path, to_json(value, indent=2, sort_keys=True) + "\n")


class Ambiguous(ValueError):
    """JSON that two readers may read differently: a key twice, a number that JSON has not."""


def read_json(path: Path, expected: str) -> Any:
    """The value of a JSON file. Raises UserError for a missing file, bad UTF-8 or bad JSON."""
    if not path.is_file():
        raise UserError(str(path), no_file(path), expected)
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(str(path), f"invalid JSON ({error})", expected) from None


def no_file(path: Path) -> str:
    """What is at a path where a file should be."""
    return "a folder" if path.is_dir() else "no regular file" if path.exists() else "no such file"


@contextmanager
def read_as(path: Path, expected: str) -> Iterator[None]:
    """While the value of a file is taken apart: a field that is missing or of another type is a UserError that names the file."""
    try:
        yield
    except KeyError as error:
        raise UserError(str(path), f"no field {error}", expected) from None
    except (TypeError, AttributeError, IndexError, ValueError) as error:
        raise UserError(str(path), f"a value of another kind ({error})", expected) from None


def read_jsonl(path: Path, *, missing: str = "an existing JSON Lines file", ours: bool = False) -> Iterator[tuple[int, Row]]:
    """Yield (line number from 1, object) of a JSON Lines file.

    Raises UserError naming the file and line for a missing file, bad UTF-8, bad JSON, a key twice, NaN, or a line that is no
    object. With `ours`, a log of this project, whose older versions wrote NaN and which has no key twice.
    """
    if not path.is_file():
        raise UserError(str(path), no_file(path), missing)
    strictly: dict[str, Any] = {} if ours else {"object_pairs_hook": _each_key_once, "parse_constant": _no_constant}
    for number, raw in _lines(path):
        if not raw.strip():
            continue
        where = f"{path}:{number}"
        try:
            value = json.loads(raw, **strictly)
        except UnicodeDecodeError as error:
            raise UserError(where, f"bytes that are not UTF-8 (at byte {error.start})", "one JSON object in UTF-8") from None
        except json.JSONDecodeError as error:
            raise UserError(where, f"invalid JSON ({error.msg} at column {error.colno})", "one JSON object per line") from None
        except Ambiguous as error:
            raise UserError(where, str(error), "JSON that every reader reads alike") from None
        except (RecursionError, ValueError) as error:  # nested too deep; an integer of thousands of digits
            raise UserError(where, f"unreadable JSON ({error})", "one JSON object per line") from None
        if not isinstance(value, dict):
            raise UserError(where, f"a JSON {type(value).__name__}", "one JSON object per line")
        if b"\\u" in raw:
            _check_unicode(where, value)
        yield number, value


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The numbered lines of a file. Raises UserError where the machine cannot read it."""
    try:
        with path.open("rb") as file:
            yield from enumerate(file, 1)
    except OSError as error:
        raise UserError(str(path), (error.strerror or str(error)).lower(), "a file that can be read") from None


def _each_key_once(pairs: list[tuple[str, Any]]) -> Row:
    row = dict(pairs)
    if len(row) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Ambiguous(f"the key {twice!r:.60} twice in one object")
    return row


def _no_constant(word: str) -> None:
    raise Ambiguous(f"{word}, which is no JSON")


def _check_unicode(where: str, value: Row) -> None:
    """Raise UserError for half a surrogate pair, which is no character and cannot be written or tokenized."""
    for name, field in value.items():
        try:
            json.dumps({name: field}, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = f"half a surrogate pair, \\u{ord(error.object[error.start]):04x}"
            raise UserError(
                f"{where}, field {name.encode(errors='replace').decode()}", half, "whole Unicode characters"
            ) from None


def sha256(*parts: bytes) -> str:
    """Hex SHA-256 of bytes: of several, one after the other."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
