"""When a run stalls: the stacks of all actor processes, requested by a signal.

Invariant: the process only has to exist. faulthandler writes its stack from the signal handler, also while the process waits in
C code or holds the interpreter's lock.
"""

import faulthandler
import os
import signal
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from vgrout.progress import say

SIGNAL = signal.SIGUSR1


@dataclass(frozen=True)
class Whereabouts:
    """A process and the Ray node that it runs on."""

    pid: int
    node: str


def stack_file(pid: int) -> Path:
    """Where the process `pid` of this machine writes its stacks when it is asked."""
    return Path(tempfile.gettempdir()) / f"vgrout-stacks-{pid}"


def listen() -> TextIO:
    """From now on this process answers SIGUSR1 with its stacks, in its own file. Keep the returned file open."""
    path = stack_file(os.getpid())
    file = path.open("w")
    path.unlink()  # it is read through /proc while the process lives, and leaves no file behind
    faulthandler.register(SIGNAL, file, all_threads=True)
    return file


def stacks_of(pid: int) -> str:
    """The stacks of a process of this machine that listens."""
    target = next((p for p in Path(f"/proc/{pid}/fd").glob("*") if _points_at(p, stack_file(pid))), None)
    if target is None:
        return "not listening\n"
    before = target.stat().st_size
    os.kill(pid, SIGNAL)
    time.sleep(0.5)
    with target.open() as file:
        file.seek(before)
        return file.read() or f"no answer; the process's state is {_state(pid)}\n"


def _state(pid: int) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split(maxsplit=1)[1] for line in lines if line.startswith("State:"))  # e.g. T (stopped)


def _points_at(link: Path, path: Path) -> bool:
    try:
        return str(link.readlink()).startswith(str(path))
    except OSError:  # a descriptor that was closed meanwhile
        return False


def collect(where: dict[str, Whereabouts], timeout_s: float = 20.0) -> str:
    """The stacks of the parts `where`, each read by a task on its own node; a node that does not answer is named."""
    import ray
    from ray.exceptions import GetTimeoutError, RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    text = []
    for name, place in where.items():
        try:
            if place.node == ray.get_runtime_context().get_node_id():
                found = stacks_of(place.pid)
            else:
                pinned = NodeAffinitySchedulingStrategy(place.node, soft=False)
                task = ray.remote(stacks_of).options(num_cpus=0, scheduling_strategy=pinned)
                found = ray.get(task.remote(place.pid), timeout=timeout_s)
        except (RayError, GetTimeoutError, OSError) as error:
            found = f"cannot be read ({type(error).__name__}: {error})\n"
        text.append(f"== {name} (process {place.pid}, node {place.node[:8]})\n{found}")
    return "\n".join(text)


class Watchdog:
    """Writes the stacks of the parts `where` and of this process to `folder/stacks-<n>.txt` when nothing moved for `seconds`."""

    def __init__(self, seconds: float, folder: Path, where: dict[str, Whereabouts]) -> None:
        self.seconds, self.folder, self.where = seconds, folder, where
        self.count = 0
        self._last, self._end = time.monotonic(), threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        self._last = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(timeout=30)

    def moved(self) -> None:
        """Something has moved."""
        self._last = time.monotonic()

    def _watch(self) -> None:
        while not self._end.wait(min(1.0, self.seconds / 4)):
            if time.monotonic() - self._last >= self.seconds:
                self._dump()
                self._last = time.monotonic()

    def _dump(self) -> None:
        self.count += 1
        path = self.folder / f"stacks-{self.count}.txt"
        with path.open("w") as file:
            file.write(f"nothing moved for {self.seconds:g} s\n\n== driver (process {os.getpid()})\n")
            file.flush()
            faulthandler.dump_traceback(file, all_threads=True)
            file.write("\n" + (collect(dict(self.where)) if self.where else ""))
        say(f"vgrout: nothing moved for {self.seconds:g} s; stacks of all actors: {path}")
