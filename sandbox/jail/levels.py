"""The jail levels and how a forked child puts one on itself before it runs model-written code.

Invariant: `enter` either applies every layer of the level or raises; a child never runs a program in less than its level.

    L1  rlimits (no new processes), no_new_privs, a non-root user: explicit opt-in only
    L2  L1 + Landlock (one folder, made for this run, with one writable file) + seccomp allow-list: the default minimum
    L3  L2 inside bubblewrap's namespaces (pid, mount, network, ipc, uts)

Where the zygote is root, every program has a user id of its own and its folder is all that it can name (chroot).
There is no L0: running model-written code without a jail is refused.
"""

import ctypes
import os
import resource
import signal
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from sandbox.jail import landlock, seccomp

NOBODY = 65534
_SET_PDEATHSIG, _SET_DUMPABLE, _SET_CHILD_SUBREAPER = 1, 4, 36

# None off Linux, where the canaries refuse every level before it is called.
_libc_prctl: Any = getattr(ctypes.CDLL(None, use_errno=True), "prctl", None)


class Level(IntEnum):
    """How strong a jail is. Verdicts record the level that the canaries proved."""

    L1 = 1
    L2 = 2
    L3 = 3


@dataclass(frozen=True)
class Limits:
    """What one program may use. Bytes and seconds; `deadline_s` is wall-clock time, kept by the trusted side.

    `file` bounds the result file of a run and what it writes into its folder.
    """

    deadline_s: float = 10.0
    memory: int = 1 << 30
    file: int = 32 << 20
    stack: int = 512 << 20
    descriptors: int = 64


def enter(level: Level, limits: Limits, folder: str, user: int, parent: int) -> None:
    """Jail the calling process, forked from a zygote under `limit_zygote`. Raises OSError, ValueError.

    `folder` is this run's working folder; `user` is the user and group id to take, 0 to keep the zygote's; `parent` is the
    zygote's pid.
    """
    os.chdir(folder)
    if user:
        with suppress(PermissionError):  # some containers take the right to chroot from root
            os.chroot(".")
            os.chdir("/")
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    # After setresuid, which clears both: die with the zygote, and be invisible to other processes of the same user.
    _prctl(_SET_PDEATHSIG, signal.SIGKILL)
    _prctl(_SET_DUMPABLE, 0)
    if os.getppid() != parent:
        raise OSError("the zygote died before the jail was on")
    _limit_child(limits)
    seccomp.set_no_new_privs()
    if level >= Level.L2:
        landlock.restrict_to(".")
        seccomp.load_own_filter()


def become_subreaper() -> None:
    """Make orphaned descendants children of the calling process. Raises OSError."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def limit_zygote(limits: Limits) -> None:
    """Set the limits that the zygote can live under itself, so that every child is born with them. Raises OSError."""
    _limit(resource.RLIMIT_AS, limits.memory)
    _limit(resource.RLIMIT_FSIZE, limits.file)
    _limit(resource.RLIMIT_STACK, limits.stack)
    _limit(resource.RLIMIT_NOFILE, limits.descriptors)
    # Queued signals are counted per user: with none allowed, the count cannot be seen.
    for name in (resource.RLIMIT_CORE, resource.RLIMIT_MEMLOCK, resource.RLIMIT_MSGQUEUE, resource.RLIMIT_SIGPENDING):
        _limit(name, 0)


def _limit_child(limits: Limits) -> None:
    """Set what the zygote cannot have: no new processes, and seconds of its own."""
    # The wall-clock deadline comes first (one thread); this bounds a child whose trusted side was stopped.
    _limit(resource.RLIMIT_CPU, int(limits.deadline_s) + 2)
    _limit(resource.RLIMIT_NPROC, 0)


def _limit(name: int, value: int) -> None:
    hard = resource.getrlimit(name)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(name, (value, value))


def _prctl(option: int, value: int) -> None:
    if _libc_prctl(option, value, 0, 0, 0) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl {option}: {os.strerror(number)}")
