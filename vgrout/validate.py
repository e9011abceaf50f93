"""Tables of plain values to checked dataclasses: one UserError that names where, what was found and what is expected.

Invariant: what `validate` returns satisfies the bounds of every field and the `check` of every section in it.
"""

import dataclasses
import difflib
import json
from functools import cache
from typing import Any, TypeVar, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from vgrout.errors import UserError
from vgrout.fields import expected, fields_of, item_of, variants

T = TypeVar("T")


def validate(kind: type[T], table: object, where: str, separator: str = ": ") -> T:
    """An instance of `kind` from plain values (None, bool, int, float, str, list, dict).

    Raises UserError of the first fault; its place is `where`, `separator` and the field's dotted name.
    """
    try:
        made = _adapter(kind).validate_json(json.dumps(table, default=lambda value: {str(value): type(value).__name__}))
    except ValidationError as error:
        name, found, wanted = _explain(kind, error.errors(include_url=False))
        raise UserError(f"{where}{separator}{name}" if name else where, found, wanted) from None
    _check(made, where + separator, "")
    return made


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _check(made: object, where: str, prefix: str) -> None:
    """Call `check` of every section, innermost first; name its field in full."""
    for name in fields_of(type(made)):
        value = getattr(made, name)
        for inner in value if isinstance(value, tuple) else (value,):
            if dataclasses.is_dataclass(inner):
                _check(inner, where, f"{prefix}{name}.")
    if check := getattr(made, "check", None):
        try:
            check()
        except UserError as error:
            raise UserError(f"{where}{prefix}{error.where}", error.found, error.expected) from None


def _explain(kind: object, errors: list[ErrorDetails]) -> tuple[str, str, str]:
    """(field, found, expected) of the fault to report: an unknown key before anything, else the first."""
    unknown = [e for e in errors if e["type"] == "unexpected_keyword_argument"]
    error = (unknown or errors)[0]
    name, siblings, info = _resolve(kind, error["loc"])
    value = error["input"]
    if error["type"] == "unexpected_keyword_argument":
        key = str(error["loc"][-1])
        close = [name.removesuffix(key) + sibling for sibling in difflib.get_close_matches(key, siblings, n=1)]
        close = _in_sections(kind, name) or close
        return name, "an unknown key", f"did you mean {' or '.join(close)}?" if close else f"one of {', '.join(siblings)}"
    if error["type"] == "missing":
        return name, "nothing", f"{expected(info) if info else 'a value'} (this field has no default)"
    if error["type"] == "union_tag_invalid":
        context = error.get("ctx", {})
        tag = context["discriminator"].strip("'")
        return f"{name}.{tag}", repr(context["tag"]), f"one of {context['expected_tags']}"
    if error["type"] == "json_invalid":
        return name, f"text that is not Unicode ({error['msg']})", "valid Unicode"
    if error["loc"] and isinstance(error["loc"][-1], int):
        return name, repr(value), item_of(info.annotation) if info else "a table"
    in_range = error["type"] in _BOUNDS or error["type"] in ("literal_error", "enum", "finite_number")
    found = repr(value) if in_range or isinstance(value, dict | list) else f"{value!r} ({type(value).__name__})"
    return name, _short(found), expected(info) if info else "a table"


def _in_sections(kind: Any, key: str) -> list[str]:
    """Where the sections of `kind` have a field of this name: `lr` is `optim.lr`."""
    sections = {name: info.annotation for name, info in fields_of(kind).items() if not variants(info)}
    return [
        f"{name}.{key}" for name, section in sections.items() if dataclasses.is_dataclass(section) and key in fields_of(section)
    ]


_BOUNDS = {
    "greater_than", "greater_than_equal", "less_than", "less_than_equal", "too_short", "too_long", "string_too_short",
    "string_too_long", "string_pattern_mismatch",
}  # fmt: skip


def _resolve(kind: object, loc: tuple[int | str, ...]) -> tuple[str, list[str], FieldInfo | None]:
    """(dotted name, the names beside the last one, its field) of a pydantic location, whose union tags are left out."""
    name, siblings, info, section = "", [], None, kind
    steps = list(loc)
    while steps:
        step = steps.pop(0)
        if isinstance(step, int):
            name += f"[{step}]"
            continue
        siblings = list(fields_of(section))
        info = fields_of(section).get(step)
        name += f".{step}" if name else step
        if info is None:
            break
        tagged = variants(info)
        if tagged and steps:
            section = tagged[str(steps.pop(0))]
        elif get_origin(info.annotation) is tuple:
            section = get_args(info.annotation)[0]
        else:
            section = info.annotation
    return name, siblings, info


def _short(text: str) -> str:
    return text if len(text) <= 120 else text[:117] + "..."
