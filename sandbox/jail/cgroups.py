"""A cgroup v2 for one zygote and its program, where the machine lets this process make one: memory, processes, processor.

Invariant: `join` either puts the process under all the limits that the controllers allow, or changes nothing and returns None;
the rlimits of the jail hold either way.
Source: Linux Documentation/admin-guide/cgroup-v2.rst.
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from sandbox.jail.levels import Limits

ROOT = Path("/sys/fs/cgroup")
_NEEDED = {"memory", "pids"}
_ZYGOTE_MEMORY = 256 << 20
_PROCESSES = 8  # the zygote, its program, and bubblewrap's own where it lies in the same group


def parent(root: Path = ROOT, own: str | None = None) -> Path | None:
    """The nearest cgroup, from this process's own upwards, in which groups with memory and pids limits can be made."""
    if own is None:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        own = next((line[3:] for line in lines if line.startswith("0::")), "")
    place = root / own.lstrip("/")
    for folder in (place, *place.parents):
        if not folder.is_relative_to(root):
            return None
        with suppress(OSError):
            enabled = set((folder / "cgroup.subtree_control").read_text().split())
            if enabled >= _NEEDED and os.access(folder, os.W_OK) and os.access(folder / "cgroup.procs", os.W_OK):
                return folder
    return None


def join(pid: int, limits: Limits, root: Path = ROOT, own: str | None = None) -> Path | None:
    """Put a process, and all that it will fork, into a new group. Returns the group, or None where none is to be had."""
    above = parent(root, own)
    if above is None:
        return None
    group = above / f"vgrout-jail-{secrets.token_hex(6)}"
    try:
        group.mkdir()
        (group / "memory.max").write_text(str(limits.memory + _ZYGOTE_MEMORY))
        (group / "pids.max").write_text(str(_PROCESSES))
        for name, value in (("memory.swap.max", "0"), ("cpu.max", "100000 100000")):
            with suppress(FileNotFoundError):  # a kernel without swap accounting, a parent without the cpu controller
                (group / name).write_text(value)
        (group / "cgroup.procs").write_text(str(pid))
    except OSError:
        leave(group)
        return None
    return group


def leave(group: Path) -> None:
    """Remove a group whose processes are gone."""
    with suppress(OSError):
        group.rmdir()


def describe() -> str:
    """What `vgrout doctor` says."""
    if parent() is not None:
        return "cgroup v2: memory, pids and cpu limits for every grader"
    return "cgroup v2: none that this process may divide (memory and pids controllers, delegated); rlimits alone bound programs"
