"""Whole files only: write to a temporary name in the same folder, fsync, rename. A finished file is a complete file."""

import hashlib
import json
import math
import os
import secrets
from collections.abc import Iterator
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


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON, whole."""
    write_whole(path, to_json(value, indent=2, sort_keys=True) + "\n")


def read_jsonl(path: Path, *, missing: str = "an existing JSON Lines file") -> Iterator[tuple[int, Row]]:
    """Yield (line number from 1, object) of a JSON Lines file.

    Raises UserError naming the file and line for a missing file, bad UTF-8, bad JSON, or a line that is no object.
    """
    if not path.is_file():
        raise UserError(str(path), "no such file", missing)
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            if not raw.strip():
                continue
            where = f"{path}:{number}"
            try:
                value = json.loads(raw)
            except UnicodeDecodeError as error:
                raise UserError(where, f"bytes that are not UTF-8 (at byte {error.start})", "one JSON object in UTF-8") from None
            except json.JSONDecodeError as error:
                raise UserError(
                    where, f"invalid JSON ({error.msg} at column {error.colno})", "one JSON object per line"
                ) from None
            except (RecursionError, ValueError) as error:  # nested too deep; an integer of thousands of digits
                raise UserError(where, f"unreadable JSON ({error})", "one JSON object per line") from None
            if not isinstance(value, dict):
                raise UserError(where, f"a JSON {type(value).__name__}", "one JSON object per line")
            if b"\\u" in raw:
                _check_unicode(where, value)
            yield number, value


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


def sha256(data: bytes) -> str:
    """Hex SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
