"""Run `vgrout train` in a process of its own, stop it at named moments, and kill parts there (see actors/moments.py)."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def train(
    arguments: list[str], folder: Path, kills: list[tuple[str, str]], timeout_s: float = 900, number: int = signal.SIGKILL
) -> tuple[int, str]:
    """Train, and kill a part ("driver" included) at each moment, in this order; (exit code, standard error)."""
    folder.mkdir(parents=True)
    environment = {**os.environ, "VGROUT_MOMENTS": str(folder)}
    environment.pop("RAY_ADDRESS", None)
    for moment, _ in kills:
        (folder / f"hold-{moment}").touch()
    command = [sys.executable, "-m", "vgrout.cli", "train", *arguments]
    log = (folder / "stderr").open("w")
    run = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=log)
    try:
        for moment, part in kills:
            wait_for(folder / moment, run, timeout_s)
            os.kill(json.loads((folder / moment).read_text())[part], number)
            (folder / f"hold-{moment}").unlink()
        code = run.wait(timeout_s)
    finally:
        run.kill()
        log.close()
    return code, (folder / "stderr").read_text()


def wait_for(path: Path, run: subprocess.Popen, timeout_s: float) -> None:
    """Wait for a file that the run writes."""
    until = time.monotonic() + timeout_s
    while not path.exists():
        assert run.poll() is None, f"the run ended before {path.name}: {(path.parent / 'stderr').read_text()[-3000:]}"
        assert time.monotonic() < until, path.name
        time.sleep(0.05)
