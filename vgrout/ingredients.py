"""What a run is made of: digests in run.json, compared wherever the run is used again, and a trace of every accepted change.

Invariant: what is compared was recorded when the run was begun, or accepted when it was resumed; nothing is compared with itself.
Names: `data.train`, `base/config.json` (files of the base model), `partition`, `canary`, `order`, ...
"""

import sys
import time
from collections.abc import Mapping
from typing import Any

from vgrout.errors import UserError
from vgrout.files import sha256, to_json
from vgrout.run_directory import RunDir

FLAG = "--accept-changes"
BASE = "base/"
REVISION = "@revision"  # the commit of a base from the hub


def digest(value: Any) -> str:
    """SHA-256 of a value as JSON."""
    return sha256(to_json(value, sort_keys=True).encode())


def recorded(about: Mapping[str, Any]) -> dict[str, str]:
    """Name -> digest of all that run.json knows the run to be made of."""
    found = {f"data.{name}": value for name, value in about.get("digests", {}).items()}
    found |= {BASE + name: value for name, value in about.get("base", {}).items()}
    found |= {name: digest(about[name]) for name in ("partition", "validation_ids", "dropped", "canary") if name in about}
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
    unknown = [name for name in here if name not in was and not name.startswith(BASE)]
    if not any(name.startswith(BASE) for name in was) and any(name.startswith(BASE) for name in here):
        unknown.append("the base")
    if unknown:
        print(f"vgrout: {run.path / 'run.json'} does not say what {', '.join(unknown)} were: not compared", file=sys.stderr)
    changed = [name for name in {**was, **here} if was.get(name, "") != here.get(name, "") and _comparable(name, was, here)]
    if not changed:
        return
    if not accept:
        place = places.get(changed[0], changed[0])
        now, then = (side.get(changed[0], "")[:12] or "no file" for side in (here, was))
        others = f"; changed too: {', '.join(changed[1:5])}" if len(changed) > 1 else ""
        found = f"{now}, where {run.path} was made with {then}{others}"
        raise UserError(place, found, f"the same (SHA-256), or {FLAG} to go on with what is here (run.json keeps a trace)")
    now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    trace = [{"time": now, "command": command, "name": n, "was": was.get(n, ""), "is": here.get(n, "")} for n in changed]
    run.note("accepted_changes", trace)


def _comparable(name: str, was: Mapping[str, str], here: Mapping[str, str]) -> bool:
    """Whether both sides know of it. A file of the base that is on one side alone is a change, but where it is from the hub."""
    if name in was and name in here:
        return True
    whole = BASE + REVISION not in {*was, *here}
    return whole and name.startswith(BASE) and all(any(n.startswith(BASE) for n in side) for side in (was, here))
