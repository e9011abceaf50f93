"""Run `vgrout train` in a process of its own, stop it at points of actors/ray_cluster/kill_points.py, and kill there."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from victims import kill_a_jailed_child, pid_of

Act = Callable[[dict[str, int]], None]


def train(
    arguments: list[str], folder: Path, kills: list[tuple[str, str | Act]], timeout_s: float = 900, **variables: str
) -> tuple[int, str]:
    """Train, and SIGKILL a victim (see victims.py) at each point, whichever comes first; (exit code, standard error).

    "jailed" is the next program that grader-0 runs. A function in a victim's place is called with the pids of the parts and
    the driver while the run is held. The run leads a process group of its own.
    """
    folder.mkdir(parents=True)
    environment = {**os.environ, "VGROUT_KILL_POINTS": str(folder), **variables}
    environment.pop("RAY_ADDRESS", None)
    for point, _ in kills:
        (folder / f"hold-{point}").touch()
    command, left = [sys.executable, "-m", "vgrout_cli.main", "train", *arguments], dict(kills)
    log = (folder / "stderr").open("w")
    run = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True)
    until = time.monotonic() + timeout_s
    try:
        with ThreadPoolExecutor() as pool:
            hunts = []
            while left:
                point = wait_for(folder, list(left), run, until)
                pids, victim = json.loads((folder / point).read_text()), left.pop(point)
                if callable(victim):
                    victim(pids)
                elif victim == "jailed":
                    hunts.append(pool.submit(kill_a_jailed_child, pids["grader-0"]))
                else:
                    os.kill(pid_of(victim, pids), signal.SIGKILL)
                (folder / f"hold-{point}").unlink()
            code = run.wait(max(1, until - time.monotonic()))
            assert all(hunt.result() for hunt in hunts), "no program was there to be killed"
    finally:
        run.kill()
        log.close()
    return code, (folder / "stderr").read_text()


def wait_for(folder: Path, points: list[str], run: subprocess.Popen, until: float) -> str:
    """The first of these points that has come."""
    while True:
        for point in points:
            if (folder / point).exists():
                return point
        assert run.poll() is None, f"the run ended before {points}: {(folder / 'stderr').read_text()[-3000:]}"
        assert time.monotonic() < until, points
        time.sleep(0.05)
