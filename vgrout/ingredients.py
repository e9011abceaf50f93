"""What a run is made of: digests in run.json, compared wherever the run is used again, and a trace of every accepted change.

Invariant: what is compared was recorded when the run was begun, or accepted when it was resumed; nothing is compared with itself.
"""

import json
import time
from collections.abc import Collection, Mapping
from typing import Any

from vgrout.errors import UserError
from vgrout.files import sha256
from vgrout.run_directory import RunDir

FLAG = "--accept-changes"


def digest(value: Any) -> str:
    """SHA-256 of a value as JSON."""
    return sha256(json.dumps(value, sort_keys=True).encode())


def recorded(about: Mapping[str, Any]) -> dict[str, str]:
    """Name -> digest of all that run.json knows the run to be made of: `data.train`, `base/config.json`, `partition`, ..."""
    found = {f"data.{name}": value for name, value in about.get("digests", {}).items()}
    found |= {f"base/{name}": value for name, value in about.get("base", {}).items()}
    for name in ("partition", "validation_ids", "canary"):
        if name in about:
            found[name] = digest(about[name])
    if "order_digest" in about:
        found["order"] = about["order_digest"]
    for change in about.get("accepted_changes", []):
        if change["command"] == "train --resume":
            found[change["name"]] = change["is"]
    return found


def check(run: RunDir, here: Mapping[str, str], command: str, accept: bool, places: Mapping[str, str]) -> None:
    """Compare what is `here` with what the run was made of, by name; what the command does not use is not in `here`.

    A difference is a UserError that names it (`places`: what to call it), or with `accept` is written into run.json.
    """
    was = recorded(run.about())
    families = {name.split("/")[0] for name in was}
    changed = [
        name
        for name, now in here.items()
        if (name in was and was[name] != now) or (name not in was and "/" in name and name.split("/")[0] in families)
    ]
    changed += [name for name in was if "/" in name and name not in here and _asked(name, here)]
    if not changed:
        return
    if not accept:
        name = changed[0]
        place = places.get(name, name)
        others = f", and {len(changed) - 1} more: {', '.join(changed[1:5])}" if len(changed) > 1 else ""
        now, then = (side.get(name, "no file")[:12] for side in (here, was))
        found = f"{now}, where {run.path} was made with {then}{others}"
        raise UserError(place, found, f"the same (SHA-256), or {FLAG} to go on with what is here (run.json keeps a trace)")
    trace = [
        {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "command": command,
            "name": n,
            "was": was.get(n, ""),
            "is": here.get(n, ""),
        }
        for n in changed
    ]
    run.note("accepted_changes", trace)


def _asked(name: str, here: Collection[str]) -> bool:
    """Whether the family of a file (`base/...`) is among what is compared."""
    return any(other.split("/")[0] == name.split("/")[0] and "/" in other for other in here)


def base_names(digests: Mapping[str, str]) -> dict[str, str]:
    """The files of a base under the names of `recorded`."""
    return {f"base/{name}": value for name, value in digests.items()}
