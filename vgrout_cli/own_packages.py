"""Are `vgrout`, `actors`, `learner` and `sandbox` ours? A user's own file of that name must never be imported in their place.

Invariant: needs nothing of ours, so it can be asked before anything of ours is imported.
"""

import importlib.util
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
