"""Are `vgrout`, `actors`, `learner` and `sandbox` ours? A user's own file of that name must never be imported in their place.

Invariant: processes that this package starts find the code that this process runs, and nothing in the working directory.
"""

import importlib.util
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("vgrout", "actors", "learner", "sandbox")


def foreign() -> tuple[str, Path] | None:
    """(name, place) of the first package that comes from elsewhere than this file does, or None."""
    for name in NAMES:
        spec = importlib.util.find_spec(name)
        places = [] if spec is None else [spec.origin] if spec.origin else list(spec.submodule_search_locations or ())
        for place in places:
            if place and ROOT not in Path(place).resolve().parents:
                return name, Path(place)
    return None


def message() -> str | None:
    """What to tell a user whose file hides one of our packages, or None."""
    found = foreign()
    if found is None:
        return None
    name, place = found
    return (
        f"package {name}: found {place}, which hides vGROUT's own; expected {ROOT / name}: "
        f"rename that file, or take its folder off PYTHONPATH and start the `vgrout` command instead of `python -m`"
    )


def command(*words: str) -> list[str]:
    """The words that run `vgrout WORDS` in a process of its own; `environment` belongs to it."""
    return [sys.executable, "-P", "-m", "vgrout_cli.main", *words]


def environment() -> dict[str, str]:
    """The environment of such a process: this code first on its path (`-P` keeps the working directory off it)."""
    old = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *([old] if old else [])])}
