"""What the configuration offers, made from its fields: one field's page, the whole reference, and a JSON schema for editors.

Invariant: all text comes from vgrout/config*.py; tests/vgrout/test_config_reference.py compares the committed files with it.
"""

import difflib
import json

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from vgrout.config import Config
from vgrout.errors import UserError
from vgrout.fields import expected, fields_of, kind_of, range_of, unit_of, variants
from vgrout.rows import Row

HEAD = """\
# Configuration

Every field of a preset, an arm or `--set section.field=value`. This page is made by `vgrout config --markdown`; do not edit it.

A preset is a TOML file that may lie anywhere; packaged presets go by name (`vgrout train tiny`). It may inherit from a
packaged preset (`extends = "qwen3-4b"`) or from another file (`extends = "./mine.toml"`). An arm (`vgrout arms` lists them)
is laid over it, then every `--set`. Relative paths in a file are relative to that file. Editors that know TOML (Taplo, Even
Better TOML) check a preset against `configs/schema.json`: begin the preset with a line such as `#:schema ./schema.json`.
"""


def fields() -> Row:
    """Every field by its dotted name; those of a gate rule as `gate[RULE].field`."""
    found: Row = {}
    for name, info in fields_of(Config).items():
        if tagged := variants(info):
            for tag, kind in tagged.items():
                found |= {f"{name}[{tag}].{inner}": field for inner, field in fields_of(kind).items()}
        elif hasattr(info.annotation, "__pydantic_fields__"):
            found |= {f"{name}.{inner}": field for inner, field in fields_of(info.annotation).items()}
        else:
            found[name] = info
    return found


def describe(name: str) -> str:
    """One field, or all fields of a section, as text. Raises UserError for a name that there is not."""
    known = fields()
    exact = {key: info for key, info in known.items() if key == name or _plain(key) == name}
    chosen = exact or {key: info for key, info in known.items() if _plain(key).split(".")[0] == name.rstrip(".")}
    if not chosen:
        names = sorted({_plain(key) for key in known})
        close = difflib.get_close_matches(name, [*names, *fields_of(Config)], n=1)
        raise UserError("vgrout config", repr(name), f"did you mean {close[0]}?" if close else f"one of {', '.join(names)}")
    return "\n".join(_entry(key, info) for key, info in chosen.items())


def markdown() -> str:
    """The whole reference page."""
    lines = [HEAD, "## Top level", *_table({k: v for k, v in fields_of(Config).items() if not _is_section(v)})]
    for name, info in fields_of(Config).items():
        for tag, kind in variants(info).items():
            lines += [f"## `[{name}]` with `rule = {json.dumps(tag)}`", "", kind.__doc__, *_table(fields_of(kind))]
        if _is_section(info) and not variants(info):
            lines += [f"## `[{name}]`", "", info.annotation.__doc__ or "", *_table(fields_of(info.annotation))]
    return "\n".join(lines).rstrip() + "\n"


def schema() -> Row:
    """A JSON schema of preset and arm files: nothing is required, since both may be a part of a configuration."""
    made = TypeAdapter(Config).json_schema()
    made["title"], made["description"] = "vGROUT preset or arm", "Made by `vgrout config --schema`."
    made["properties"]["extends"] = {"type": "string", "description": "The preset that this one inherits from: a name or a path."}
    gate = made["properties"]["gate"]
    gate["anyOf"] = gate.pop("oneOf")  # a file may give a rule's fields and leave the rule to another
    gate.pop("discriminator")
    for table in (made, *made["$defs"].values()):
        table.pop("required", None)
    return made


def _is_section(info: FieldInfo) -> bool:
    return bool(variants(info)) or hasattr(info.annotation, "__pydantic_fields__")


def _plain(key: str) -> str:
    """`gate[pairs].upper_scale` as a user writes it."""
    return key.split("[")[0] + key.split("]")[-1] if "[" in key else key


def _default(info: FieldInfo) -> str:
    return "required" if info.is_required() else json.dumps(info.default)


def _entry(key: str, info: FieldInfo) -> str:
    return f"{key}\n    {info.description}\n    {expected(info)}; default: {_default(info)}"


def _table(infos: Row) -> list[str]:
    rows = ["", "| field | meaning | values | unit | default |", "| --- | --- | --- | --- | --- |"]
    for name, info in infos.items():
        values = ", ".join(word for word in (kind_of(info.annotation), range_of(info)) if word)
        rows.append(f"| `{name}` | {info.description} | {values} | {unit_of(info)} | `{_default(info)}` |".replace("|  |", "| |"))
    return [*rows, ""]
