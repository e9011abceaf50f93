"""Turn TOML tables into frozen dataclasses: read, overlay, `section.field=value`, and types checked field by field.

Invariant: an unknown key, a missing value or a wrong type is a UserError that names file and field. Knows no configuration.
"""

import dataclasses
import difflib
import tomllib
import types
import typing
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from vgrout.errors import UserError
from vgrout.records import GateLabel, Mode


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as nested dicts. Raises UserError naming the file."""
    if not path.is_file():
        raise UserError(str(path), "no such file", "a TOML file")
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(str(path), f"invalid TOML ({error})", "a TOML file") from None


def merge(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """`base` with the values of `change` laid over it, table by table."""
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(value, dict) and isinstance(old, dict) else value
    return merged


def parse_set(text: str) -> dict[str, Any]:
    """`section.field=value` as nested dicts; the value in TOML, or a bare word. Raises UserError."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UserError(f"--set {text}", repr(text), "section.field=value")
    parsed: Any
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value  # a bare word is a string, as in `--set gate.band=quantile`
    for part in reversed(key.strip().split(".")):
        parsed = {part: parsed}
    return parsed


def build(kind: type, table: Any, where: str, prefix: str) -> Any:
    """An instance of the dataclass `kind` from a table. Raises UserError naming `where` and the field (`prefix` before it)."""
    if not isinstance(table, dict):
        raise UserError(f"{where}: {prefix.rstrip('.')}", f"{table!r}", "a table")
    hints = get_type_hints(kind)
    known = {f.name: f for f in dataclasses.fields(kind)}
    for key in table:
        if key not in known:
            close = difflib.get_close_matches(key, list(known), n=1)
            hint = f"did you mean {prefix}{close[0]}?" if close else f"one of {', '.join(known)}"
            raise UserError(f"{where}: {prefix}{key}", "an unknown key", hint)
    values: dict[str, Any] = {}
    for name, spec in known.items():
        if name in table:
            values[name] = _convert(hints[name], table[name], where, prefix + name)
        elif spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
            raise UserError(f"{where}: {prefix}{name}", "nothing", "a value (this field has no default)")
    return kind(**values)


def _convert(hint: Any, value: Any, where: str, name: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type, hint), value, where, name + ".")
    origin = get_origin(hint)
    if origin is Literal:
        if value not in get_args(hint):
            raise UserError(f"{where}: {name}", repr(value), f"one of {', '.join(map(repr, get_args(hint)))}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise UserError(f"{where}: {name}", repr(value), "a list")
        return tuple(_convert(get_args(hint)[0], item, where, f"{name}[{i}]") for i, item in enumerate(value))
    if isinstance(hint, type) and issubclass(hint, Mode | GateLabel):
        if value not in list(hint):
            raise UserError(f"{where}: {name}", repr(value), f"one of {', '.join(hint)}")
        return hint(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    assert not isinstance(hint, types.UnionType), f"unsupported field type of {name}"
    if type(value) is not hint:
        raise UserError(f"{where}: {name}", f"{value!r} ({type(value).__name__})", f"a value of type {hint.__name__}")
    return value
