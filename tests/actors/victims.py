"""The processes of a run, found from outside through /proc: whom a kill test kills, and what a run has left behind."""

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


def pid_of(victim: str, pids: dict[str, int]) -> int:
    """The process that `victim` names: a part or "driver" (from `pids`, as a kill point lists them), "core" (vLLM's own process
    under engine-0) or "raylet"."""
    if victim in pids:
        return pids[victim]
    above, mark = {"core": (pids["engine-0"], "VLLM::"), "raylet": (pids["driver"], "raylet/raylet")}[victim]
    until = time.monotonic() + 20  # an engine that was killed before may just be starting its core
    while not (found := [pid for pid in descendants(above) if mark in command(pid)]) and time.monotonic() < until:
        time.sleep(0.1)
    assert found, f"no {victim} among {[command(pid)[:60] for pid in descendants(pids['driver'])]}"
    return found[0]


def kill_a_jailed_child(grader: int) -> bool:
    """SIGKILL the next program that the grader's zygote runs, not one that has just ended by itself. False where none comes."""
    zygote = next(pid for pid in descendants(grader) if "zygote.py" in command(pid) and not comm(pid).startswith("bwrap"))
    while alive(zygote):
        for child in children(zygote):
            try:
                os.kill(child, signal.SIGSTOP)
                if state(child) == "T":
                    os.kill(child, signal.SIGKILL)
                    return True
            except ProcessLookupError:
                continue
        time.sleep(0.0002)
    return False


def children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:  # gone meanwhile
        return []


def descendants(pid: int) -> list[int]:
    found = children(pid)
    return found + [below for child in found for below in descendants(child)]


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


@dataclass(frozen=True)
class Belongings:
    """What a run holds of the machine: processes, listening sockets (inodes), files in /dev/shm."""

    pids: list[int]
    sockets: set[str]
    shared: set[str]

    def left(self, patience_s: float = 10) -> list[str]:
        """What is still there after a while, in words."""
        until = time.monotonic() + patience_s
        while True:
            found = [f"process {pid}: {command(pid)}" for pid in self.pids if alive(pid)]
            found += [f"listening socket {inode}" for inode in self.sockets & listening()]
            found += [f"/dev/shm/{name}" for name in self.shared if Path("/dev/shm", name).exists()]
            if not found or time.monotonic() > until:
                return found
            time.sleep(0.2)


def belongings(driver: int) -> Belongings:
    """Of a driver and everything below it."""
    pids = [driver, *descendants(driver)]
    held = [target for pid in pids for target in open_files(pid)]
    sockets = {target[8:-1] for target in held if target.startswith("socket:[")} & listening()
    shared = {target[9:] for target in held if target.startswith("/dev/shm/") and not target.endswith("(deleted)")}
    return Belongings(pids, sockets, shared)


def open_files(pid: int) -> list[str]:
    """Targets of a process's descriptors and mappings."""
    found = []
    for link in [*Path(f"/proc/{pid}/fd").glob("*"), *Path(f"/proc/{pid}/map_files").glob("*")]:
        with suppress(OSError):  # closed meanwhile
            found.append(str(link.readlink()))
    return found


def listening() -> set[str]:
    """Inodes of all listening TCP sockets of this machine."""
    rows = [row.split() for name in ("tcp", "tcp6") for row in Path("/proc/net", name).read_text().splitlines()[1:]]
    return {row[9] for row in rows if row[3] == "0A"}


def comm(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text()


def state(pid: int) -> str:
    """The letter of a process's state; "" where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def alive(pid: int) -> bool:
    """Is a process there, and no zombie?"""
    return state(pid) not in ("", "Z", "X")
