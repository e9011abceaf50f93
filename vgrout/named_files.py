"""Presets, arms, suites and scenarios by name or by path: `tiny` is the packaged one, `./mine.toml` a file.

Invariant: a name never means a file of the working directory, and a path never a packaged file.
"""

import difflib
from pathlib import Path

from vgrout.errors import UserError
from vgrout.presets import packaged


def is_path(text: Path | str) -> bool:
    """Whether a text is a path (it has a slash or ends in .toml) and not a name."""
    return "/" in str(text) or str(text).endswith(".toml")


def find(folder: str, text: Path | str, where: str = "") -> Path:
    """The file of a path, or of a name in a packaged folder ("" for presets). Raises UserError with the names that there are."""
    if is_path(text):
        return Path(text)
    path = packaged() / folder / f"{text}.toml"
    if path.is_file() and str(text):
        return path
    known = names(packaged() / folder)
    raise UserError(where or str(text), repr(str(text)) if where else "no packaged file of this name", _choice(str(text), known))


def names(folder: Path) -> list[str]:
    """The names of the TOML files in a folder."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def arm_files(preset: Path) -> dict[str, Path]:
    """The arms that a preset can have: those beside it, and the packaged ones."""
    folders = (packaged() / "arms", preset.parent / "arms")
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.toml"))}


def find_arm(preset: Path, text: str, where: str) -> tuple[str, Path]:
    """(name, file) of an arm, by name or by path. Raises UserError."""
    if not isinstance(text, str):
        raise UserError(where, repr(text), "the name of an arm")
    if is_path(text):
        return Path(text).stem, Path(text)
    known = arm_files(preset)
    if text not in known:
        raise UserError(where, repr(text), _choice(text, sorted(known)))
    return text, known[text]


def _choice(text: str, known: list[str]) -> str:
    close = difflib.get_close_matches(text, known, n=1)
    listed = f"one of {', '.join(known)}"
    return f"did you mean {close[0]}? ({listed})" if close else listed
