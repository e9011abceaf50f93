"""The trusted side of one warm zygote: starts it, hands it programs, and ends it.

Invariant: `run` returns only when every process of the program is dead, and every run has a working folder and a result file
that were made for it and are gone when it returns. It uses no signal handler and no SIGCHLD, and works in any thread. What is
the machinery's own fault raises InfraError, never a verdict, and no program can bring one about.
"""

import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from sandbox.jail import cgroups, runtime, wire
from sandbox.jail.bubblewrap import bubblewrap_prefix
from sandbox.jail.child import BROKEN, JAILED
from sandbox.jail.levels import NOBODY, Level, Limits
from sandbox.jail.program import Program
from sandbox.jail.result_file import read_result_file
from sandbox.jail.supervision import REPLY_S, End, Ended, Listen, Read, Supervision, pid_of

RESULT_FILE = "result.txt"
_MEMORY, _ROOM = "/dev/shm", 1 << 30
_ZYGOTE = Path(__file__).with_name("zygote.py")
_NAMESPACES = ("pid", "mnt", "net", "ipc", "uts")

# User ids that no one has: systemd, too, leaves this block to nobody. Each Runner draws a part of it.
_FIRST_USER, _USERS, _PART = 0x70000000, 1 << 28, 64

# The main thread's stack can grow as far as the limit at exec lets it.
_DEEP_STACK = ["/bin/sh", "-c", 'ulimit -S -s "$1" 2>/dev/null; shift; exec "$@"', "sh"]


class InfraError(Exception):
    """The grader's own failure (zygote dead, no fork, jail not put on): to be retried, never a program's fault."""


class Killed(InfraError):
    """A SIGKILL that this side did not send ended the program: the out-of-memory killer's, somebody's, or its own."""


class Runner:
    """One zygote and its scratch folder. Not thread-safe: one run at a time."""

    def __init__(
        self, level: Level, limits: Limits, hidden: tuple[Path, ...] = (), packages: Sequence[str] = runtime.PACKAGES
    ) -> None:
        """Start the zygote. `hidden` are paths that it reports if it can see them. Raises InfraError."""
        self.level, self.limits, self.packages = level, limits, tuple(packages)
        self.doubts_kills = False  # raise Killed where a program ends so, and report no end
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._group: Path | None = None
        self._first_user, self._runs = _draw_users(), 0
        self.folder = Path(tempfile.mkdtemp(prefix="vgrout-jail-", dir=_scratch_place()))
        try:
            self.folder.chmod(0o711)
            self._start(hidden)
        except BaseException:
            self.close()
            raise

    def run(self, program: Program, read: Read, listen: Listen = lambda _: None, deadline_s: float | None = None) -> Ended:
        """Run one program to its end. `read` gets the file of its frames once it is dead; `listen` gets stdout as it comes.

        Raises Killed where that is asked for. Raises InfraError; then the Runner is closed and unfit for use.
        """
        if self._channel is None:
            raise InfraError("the runner is closed")
        run, folder = self._make_run()
        try:
            with_limits = (read, listen, deadline_s or self.limits.deadline_s)
            ended = Supervision(self._channel, run, program, *with_limits).supervise()
            ended = replace(ended, report=read_result_file(f"{folder}/{RESULT_FILE}"))
        except (OSError, EOFError, ValueError, KeyError) as error:
            self.close()
            raise InfraError(f"{type(error).__name__}: {error}") from error
        except BaseException:
            self.close()  # a run half supervised leaves the channel out of step
            raise
        finally:
            _remove(folder)
        # First: what is killed while it puts the jail on was killed from outside, too.
        if self.doubts_kills and ended.end is End.SIGNALLED and ended.code == -signal.SIGKILL:
            raise Killed(f"a SIGKILL from outside ended the program's {program.task} run")
        if not ended.status.startswith(JAILED) and ended.by_itself:
            reason = ended.status.removeprefix(BROKEN).decode("utf-8", "replace")
            raise InfraError(f"the jail could not be put on: {reason}")
        return ended

    def _make_run(self) -> tuple[dict[str, object], str]:
        """A fresh folder with an empty result file, owned by a user id of its own where this side is root."""
        user = self._first_user + self._runs % _PART if self._first_user else NOBODY if os.geteuid() == 0 else 0
        folder = f"{self.folder}/{self._runs}"  # text and os: with Path this takes twice as long, at every run
        self._runs += 1
        try:
            os.mkdir(folder, 0o700)  # noqa: PTH102
            file = f"{folder}/{RESULT_FILE}"
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            if user:
                os.chown(file, user, user)
                os.chown(folder, user, user)
        except OSError as error:
            raise InfraError(f"the run's folder: {error}") from error
        return {"folder": folder, "user": user}, folder

    def close(self) -> None:
        """End the zygote and all below it; remove the scratch folder. Safe to call twice."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is not None:
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                self._process.wait(2.0)  # it leaves by itself once the channel is closed
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._group is not None:
            cgroups.leave(self._group)
            self._group = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, hidden: tuple[Path, ...]) -> None:
        python = os.path.realpath(sys.executable)
        folders = runtime.package_folders(self.packages)
        try:
            prefix = bubblewrap_prefix(self.folder, _ZYGOTE, folders) if self.level >= Level.L3 else []
        except OSError as error:
            raise InfraError(str(error)) from error
        ours, low = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with low:
            # Never 0 to 2, which Popen points elsewhere: they may be free in a host process that closed them.
            theirs = socket.socket(fileno=fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 3))
        stack = [*_DEEP_STACK, str(self.limits.stack >> 10)]
        command = [*stack, *prefix, python, "-P", "-s", "-S", "-B", "-X", "utf8", str(_ZYGOTE), str(theirs.fileno())]
        # A fixed hash seed: the order of a set of strings must not decide a verdict. One thread for numpy's library.
        environment = {"PYTHONHASHSEED": "0", "TZ": "UTC", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        errors = os.memfd_create("zygote-stderr")
        try:
            self._process = subprocess.Popen(
                command,
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            os.close(errors)
            raise InfraError(f"cannot start {command[0]}: {error}") from error
        finally:
            theirs.close()
        ours.settimeout(REPLY_S)
        self._channel = ours
        try:
            self._greet(ours, hidden, folders, errors)
        finally:
            os.close(errors)

    def _greet(self, channel: socket.socket, hidden: tuple[Path, ...], folders: list[str], errors: int) -> None:
        """Send the zygote its setting and wait until it is warm."""
        start = {
            "level": int(self.level),
            "limits": asdict(self.limits),
            "scratch": str(self.folder),
            "hidden": [str(path) for path in hidden],
            "packages": self.packages,
            "folders": folders,
        }
        try:
            wire.send(channel, start)
            reply = wire.receive(channel)
        except (OSError, ValueError) as error:
            raise InfraError(f"the zygote did not start: {error}; {_last_line(errors)}") from error
        if reply is None or "failed" in reply[0]:
            raise InfraError(f"the zygote did not start: {reply[0]['failed'] if reply else _last_line(errors)}")
        message, (handle,) = reply
        self.sees: list[str] = message["sees"]
        pid = pid_of(handle)
        os.close(handle)
        self.namespaces = _namespaces(pid)
        if pid is not None:
            self._group = cgroups.join(pid, self.limits)
            with suppress(OSError):  # of all on this machine, a program is the first to go where memory runs out
                Path(f"/proc/{pid}/oom_score_adj").write_text("1000")


def _scratch_place() -> str | None:
    """Where scratch folders are made: in memory where that can be had, else in the default temporary folder.

    A file system on a disk gives a freed inode number to the next file, so that a program which removes or renames its result
    file moves the number that the next program sees. One in memory counts up, whatever a program does to its file. A small
    one (a container has 64 MiB by default) is left to others, since a program must not fail because it is full.
    """
    try:
        state = os.statvfs(_MEMORY)
    except OSError:
        return None
    roomy = state.f_bavail * state.f_frsize >= _ROOM
    return _MEMORY if roomy and os.path.ismount(_MEMORY) and os.access(_MEMORY, os.W_OK | os.X_OK) else None


def _remove(folder: str) -> None:
    """Remove a run's folder. At L2 and L3 nothing but the result file can be in it."""
    try:
        os.unlink(f"{folder}/{RESULT_FILE}")  # noqa: PTH108
        os.rmdir(folder)  # noqa: PTH106
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)


def _draw_users() -> int:
    """The first of this Runner's user ids; 0 where this side is not root, or is root of too small a user namespace."""
    if os.geteuid() != 0:
        return 0
    ranges = [[int(word) for word in line.split()] for line in Path("/proc/self/uid_map").read_text().splitlines()]
    if not any(first <= _FIRST_USER and first + count >= _FIRST_USER + _USERS for first, _, count in ranges):
        return 0
    return _FIRST_USER + secrets.randbelow(_USERS // _PART) * _PART


def _namespaces(pid: int | None) -> dict[str, int]:
    """Inode numbers of a process's namespaces; empty where they cannot be read."""
    try:
        return {kind: Path(f"/proc/{pid}/ns/{kind}").stat().st_ino for kind in _NAMESPACES}
    except OSError:
        return {}


def _last_line(errors: int) -> str:
    """What the zygote (or bubblewrap) said before it died."""
    text = os.pread(errors, 1 << 16, 0).decode("utf-8", "replace").strip()
    return text.splitlines()[-1][:200] if text else "it ended without a word"
