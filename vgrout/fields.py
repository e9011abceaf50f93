"""The fields of a table that users write: default, range, unit and one sentence of meaning, side by side.

A section is a frozen pydantic dataclass whose fields are made by `option` and `required`. Rules across its fields are its
method `check`, which raises UserError naming the field; `vgrout.validate` calls it.
Invariant: what a field allows is said once; messages, docs/reference/config.md and the JSON schema are all made from it.
"""

import dataclasses
import types
from enum import StrEnum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types as bounds
from pydantic import ConfigDict, Field
from pydantic.fields import FieldInfo

from vgrout.errors import UserError
from vgrout.rows import Row

# No silent conversion (but of 1 to 1.0), no unknown keys, no NaN or infinity.
STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
WEEK = 604_800.0  # seconds: the longest wait that a configuration can ask for
HUGE = 2**31 - 1  # the largest count
LENGTHS = (bounds.MinLen, bounds.MaxLen)


def option(default: Any, meaning: str, *, unit: str = "", **allowed: Any) -> Any:
    """A field with a default. `allowed`: pydantic's ge, gt, le, lt, min_length, max_length, pattern, discriminator."""
    return Field(default=default, description=meaning, json_schema_extra={"unit": unit} if unit else None, **allowed)


def required(meaning: str, *, unit: str = "", **allowed: Any) -> Any:
    """A field that the user must give."""
    return Field(description=meaning, json_schema_extra={"unit": unit} if unit else None, **allowed)


def fields_of(section: Any) -> dict[str, FieldInfo]:
    """The fields of a section's class, by name."""
    return section.__pydantic_fields__


def unit_of(info: FieldInfo) -> str:
    """The unit of a field, or an empty text."""
    extra = info.json_schema_extra
    return str(extra.get("unit", "")) if isinstance(extra, dict) else ""


def variants(info: FieldInfo) -> Row:
    """The classes of a tagged union by their tag; none for any other field."""
    if not isinstance(info.discriminator, str):
        return {}
    return {fields_of(kind)[info.discriminator].default: kind for kind in get_args(info.annotation)}


def kind_of(annotation: object) -> str:
    """What values a type has, in words."""
    origin = get_origin(annotation)
    if origin is Annotated:
        base, *rest = get_args(annotation)
        if said := [part.description for part in rest if isinstance(part, FieldInfo) and part.description]:
            return said[0]
        limits = [range_of(part, base) for part in rest if isinstance(part, FieldInfo)]
        return ", ".join([kind_of(base), *filter(None, limits)])
    if origin is Literal:
        return "one of " + ", ".join(map(repr, get_args(annotation)))
    if origin is tuple:
        return f"a list, each {item_of(annotation)}"
    if origin in (Union, types.UnionType) or dataclasses.is_dataclass(annotation):
        return "a table"
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return "one of " + ", ".join(annotation)
    return {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[annotation]


def item_of(annotation: object) -> str:
    """What one value of a list type may be, in words."""
    return kind_of(get_args(annotation)[0])


def range_of(info: FieldInfo, kind: object = None) -> str:
    """The bounds of a field (of type `kind`, by default its own), in words; empty where it has none."""
    words, text = [], (kind or info.annotation) is str
    sizes = [b.min_length if isinstance(b, bounds.MinLen) else b.max_length for b in info.metadata if isinstance(b, LENGTHS)]
    if not text and len(sizes) == 2 and sizes[0] == sizes[1]:
        return f"exactly {sizes[0]} of them"
    for bound in info.metadata:
        match bound:
            case bounds.Ge(ge=value):
                words.append(f"at least {_number(value)}")
            case bounds.Gt(gt=value):
                words.append(f"above {_number(value)}")
            case bounds.Le(le=value):
                words.append(f"at most {_number(value)}")
            case bounds.Lt(lt=value):
                words.append(f"below {_number(value)}")
            case bounds.MinLen(min_length=value):
                words.append("not empty" if text else f"at least {'one' if value == 1 else value}")
            case bounds.MaxLen(max_length=value):
                words.append(f"at most {value} {'characters' if text else 'of them'}")
            case _:
                if pattern := getattr(bound, "pattern", None):
                    words.append(f"of the form {pattern}")
    return ", ".join(words)


def _number(value: object) -> str:
    return str(value) if isinstance(value, int) else f"{value:.15g}"


def expected(info: FieldInfo) -> str:
    """What a field accepts, in words: kind, range and unit."""
    words = [word for word in (kind_of(info.annotation), range_of(info)) if word]
    unit = f" ({unit_of(info)})" if unit_of(info) else ""
    return ", ".join(words) + unit


def each_once(name: str, values: tuple[object, ...]) -> None:
    """Raise UserError where a list has a value twice."""
    for value in values:
        if values.count(value) > 1:
            raise UserError(name, f"{str(value)!r} twice", "each value once")
