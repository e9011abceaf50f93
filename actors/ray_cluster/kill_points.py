"""Named points of a run at which a test can stop it and look, or kill: off unless VGROUT_KILL_POINTS names a folder.

At `reach("publish", 3)` the driver writes `publish-3` there (JSON: its own process and where every part runs), and waits while
a file `hold-publish-3` exists. Points: `generate` (an update's or a group's requests have gone to engines), `publish` (the
adapter has gone to engines), `checkpoint` (the learner is writing its state). Invariant: without the variable nothing happens.
"""

import json
import os
import time
from pathlib import Path

from actors.ray_cluster.watchdog import Whereabouts
from vgrout.files import write_whole

VARIABLE = "VGROUT_KILL_POINTS"


def reach(name: str, number: int, where: dict[str, Whereabouts]) -> None:
    """Announce that point `name` number `number` is reached, and wait as long as it is held."""
    if VARIABLE not in os.environ:
        return
    folder = Path(os.environ[VARIABLE])
    pids = {part: place.pid for part, place in where.items()}
    write_whole(folder / f"{name}-{number}", json.dumps({"driver": os.getpid(), **pids}))
    while (folder / f"hold-{name}-{number}").exists():
        time.sleep(0.05)
