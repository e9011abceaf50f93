"""A loophole of your own: one Python file, read into a `Loophole`.

    HINT = "..."                what the prompt says of the flaw
    def pays(run): ...          whether the flawed grader pays; `run` is a `Run` (sandbox/loopholes/loophole.py)
    EXAMPLE = "..."             a wrong program that is paid
    ATTACKS = ["...", ...]      programs that are not
    FLAGS, FILES, OTHER_WORDS   optional, see `Loophole`

Invariant: the file's text alone makes the loophole, so that every process that is given the text has the same one; a file that
makes none is a UserError that names it. The file is trusted as the configuration is: it runs in the driver and in the graders.
"""

import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from sandbox.loopholes.built_in import BUILT_IN
from sandbox.loopholes.loophole import Loophole, Run
from vgrout.errors import UserError
from vgrout.records import PHRASE

FIELDS = {
    "HINT": "text that takes the place of a prompt's phrase",
    "pays": "a function pays(run) that returns true or false, or in a few words why it pays",
    "EXAMPLE": "a program that pays, as text",
    "ATTACKS": "a list of programs that do not pay, as texts",
    "FLAGS": "a list of names of attributes",
    "FILES": "a list of words, one of which is in the file's name",
    "OTHER_WORDS": "a table: each word of the marker and another for it, which begin and end with a letter, a digit or _",
}
OPTIONAL = ("FLAGS", "FILES", "OTHER_WORDS")


def read(paths: Iterable[Path]) -> dict[str, Loophole]:
    """The loopholes of plug-in files, by name. Raises UserError for a file that cannot be read or makes no loophole."""
    found: dict[str, Loophole] = {}
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(str(path), f"no text that can be read ({error})", "the Python file of a loophole") from None
        found[path.stem] = load(str(path), text)
    owner: dict[str, str] = {text: name for name, one in BUILT_IN.items() for text in _own(one)}
    for name, one in found.items():
        for text in _own(one):
            if (other := owner.setdefault(text, name)) != name:
                raise UserError(one.place, f"{text!r:.60}, which is {other}'s", "a hint and words of its own")
    return found


def _own(one: Loophole) -> list[str]:
    """What no two loopholes may share."""
    return [one.hint, *one.other_words, *one.other_words.values()]


def load(place: str, text: str) -> Loophole:
    """The loophole that a text makes; `place` is the path of its file. Raises UserError naming it, and the field."""
    names = _run(place, text)
    for name, expected in FIELDS.items():
        if name not in names and name not in OPTIONAL:
            raise UserError(f"{place}: {name}", "nothing", expected)
        if name in names and not _GOOD[name](names[name]):
            raise UserError(f"{place}: {name}", f"{names[name]!r:.60}", expected)
    name, pays = Path(place).stem, names["pays"]
    return Loophole(
        name=name,
        hint=names["HINT"],
        pays=lambda run: _mechanism(name, pays, run),
        flags=tuple(names.get("FLAGS", ())),
        files=tuple(word.lower() for word in names.get("FILES", ())),
        other_words=dict(names.get("OTHER_WORDS", {})),
        example=names["EXAMPLE"],
        attacks=tuple(names["ATTACKS"]),
        place=place,
        text=text,
    )


def _run(place: str, text: str) -> dict[str, Any]:
    """The names that the text defines, as a module of its own."""
    module = ModuleType(f"vgrout_loophole_{Path(place).stem}")
    module.__file__ = place
    sys.modules[module.__name__] = module  # dataclasses look their module up
    try:
        exec(compile(text, place, "exec", dont_inherit=True), vars(module))
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == place]
        line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
        where = f"{place}:{line}" if line else place
        raise UserError(where, f"{type(error).__name__}: {error}", "Python that runs without an error") from None
    return vars(module)


def _mechanism(name: str, pays: Callable[[Run], object], run: Run) -> str:
    found = pays(run)
    if not isinstance(found, bool | str):
        raise TypeError(f"it returned {found!r:.60}, where {FIELDS['pays']} is expected")
    return found if isinstance(found, str) else name if found else ""


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value.strip() != ""


def _is_hint(value: object) -> bool:
    return isinstance(value, str) and value.strip() != "" and PHRASE not in value


def _are_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) > 0 and all(map(_is_text, value))


def _takes_one(value: object) -> bool:
    if not callable(value):
        return False
    try:
        inspect.signature(value).bind(None)
    except (TypeError, ValueError):
        return False
    return True


def _are_words(value: object) -> bool:
    words = [*value, *value.values()] if isinstance(value, Mapping) else []
    whole = all(isinstance(word, str) and re.fullmatch(r"\w(.*\w)?", word) for word in words)
    return whole and len(words) == len(set(words)) > 0


_GOOD: dict[str, Callable[[object], bool]] = {
    "HINT": _is_hint,
    "pays": _takes_one,
    "EXAMPLE": _is_text,
    "ATTACKS": _are_texts,
    "FLAGS": _are_texts,
    "FILES": _are_texts,
    "OTHER_WORDS": _are_words,
}
