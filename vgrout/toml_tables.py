"""TOML files and `section.field=value` as plain nested tables, and one table laid over another.

Invariant: a table that is returned is plain TOML values; a file that cannot be read is a UserError that names it.
"""

import re
import tomllib
from pathlib import Path

from vgrout.errors import UserError
from vgrout.rows import Row


def read_toml(path: Path) -> Row:
    """A TOML file as nested dicts. Raises UserError naming the file."""
    if not path.is_file():
        raise UserError(str(path), "no such file", "a TOML file")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(str(path), f"invalid TOML ({error})", "a TOML file") from None


def first_comment(path: Path) -> str:
    """The comment that a TOML file opens with, as one line of text."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# ").rstrip())
    return " ".join(lines)


def merge(base: Row, change: Row) -> Row:
    """`base` with the values of `change` laid over it, table by table."""
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(value, dict) and isinstance(old, dict) else value
    return merged


def parse_set(text: str) -> Row:
    """`section.field=value` as nested dicts; the value in TOML, or as Python writes it, or a bare word. Raises UserError."""
    key, equals, value = text.partition("=")
    if not equals or not all(part.strip() for part in key.split(".")):
        raise UserError(f"--set {text}", repr(text), "section.field=value")
    try:
        parsed = tomllib.loads(f"value = {value}")
    except tomllib.TOMLDecodeError:
        parsed = {"value": _as_python(value)}
    *outer, last = (part.strip() for part in key.split("."))
    table: Row = {last: parsed["value"]}
    for part in reversed(outer):
        table = {part: table}
    return table


def _as_python(text: str) -> bool | float | str:
    """A number or truth value that Python writes otherwise than TOML; else the text, as in `--set gate.rule=quantile`."""
    word = text.strip()
    if word in ("True", "False"):
        return word == "True"
    return float(word) if re.fullmatch(r"[+-]?(\d+\.|\.\d+)(e[+-]?\d+)?", word, re.IGNORECASE | re.ASCII) else text
