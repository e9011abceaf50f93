"""The trusted side of one warm zygote: starts it, hands it programs, and ends it.

Invariant: `run` returns only when every process of the program is dead. It uses no signal handler and no SIGCHLD, and
works in any thread. What is the machinery's own fault raises InfraError, never a verdict, and no program can bring one about.
"""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from sandbox.jail import wire
from sandbox.jail.bubblewrap import bubblewrap_prefix
from sandbox.jail.levels import NOBODY, Level, Limits
from sandbox.jail.program import Program
from sandbox.jail.supervision import REPLY_S, End, Ended, Supervision

RESULT_FILE = "result.txt"
_ZYGOTE = Path(__file__).with_name("zygote.py")


class InfraError(Exception):
    """The grader's own failure (zygote dead, no fork, jail not put on): to be retried, never a program's fault."""


class Killed(InfraError):
    """A SIGKILL that this side did not send ended the program: the out-of-memory killer's, somebody's, or its own."""


class Runner:
    """One zygote and its scratch folder. Not thread-safe: one run at a time."""

    def __init__(self, level: Level, limits: Limits, hidden: tuple[Path, ...] = ()) -> None:
        """Start the zygote. `hidden` are paths that it reports if it can see them. Raises InfraError."""
        self.level, self.limits = level, limits
        self.doubts_kills = False  # raise Killed where a program ends so, and report no end
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self.folder = Path(tempfile.mkdtemp(prefix="vgrout-jail-"))
        self.result_file = self.folder / RESULT_FILE
        try:
            self._create_result_file()
            self._start(hidden)
        except BaseException:
            self.close()
            raise

    def run(self, program: Program, feed: Callable[[bytes], bool], deadline_s: float | None = None) -> Ended:
        """Run one program to its end. `feed` gets the result stream piece by piece and says True to stop the program.

        Raises Killed where that is asked for. Raises InfraError; then the Runner is closed and unfit for use.
        """
        if self._channel is None:
            raise InfraError("the runner is closed")
        self._empty_result_file()  # nothing that a program wrote is there for the next one
        try:
            ended = Supervision(self._channel, program, feed, deadline_s or self.limits.deadline_s).supervise()
        except (OSError, EOFError, ValueError, KeyError) as error:
            self.close()
            raise InfraError(f"{type(error).__name__}: {error}") from error
        except BaseException:
            self.close()  # a run half supervised leaves the channel out of step
            raise
        if self.doubts_kills and ended.end is End.SIGNALLED and ended.code == -signal.SIGKILL:
            raise Killed(f"a SIGKILL from outside ended the program's {program.task} run")
        return ended

    def _empty_result_file(self) -> None:
        """Make the result file the same single, empty, regular file again. Raises InfraError."""
        try:
            status = self.result_file.lstat()
            if (status.st_ino, status.st_nlink) != (self._inode, 1):
                raise InfraError("the result file was replaced")
            os.truncate(self.result_file, 0)
        except OSError as error:
            raise InfraError(f"the result file: {error}") from error

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
        shutil.rmtree(self.folder, ignore_errors=True)

    def _create_result_file(self) -> None:
        self.folder.chmod(0o755)
        self.result_file.touch(mode=0o600)
        if os.geteuid() == 0:
            os.chown(self.result_file, NOBODY, NOBODY)
        self._inode = self.result_file.stat().st_ino

    def _start(self, hidden: tuple[Path, ...]) -> None:
        python = os.path.realpath(sys.executable)
        try:
            prefix = bubblewrap_prefix(self.folder, _ZYGOTE) if self.level >= Level.L3 else []
        except OSError as error:
            raise InfraError(str(error)) from error
        ours, low = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with low:
            # Never 0 to 2, which Popen points elsewhere: they may be free in a host process that closed them.
            theirs = socket.socket(fileno=fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 3))
        command = [*prefix, python, "-P", "-s", "-S", "-B", "-X", "utf8", str(_ZYGOTE), str(theirs.fileno())]
        # A fixed hash seed: the order of a set of strings must not decide a verdict.
        environment = {"PYTHONHASHSEED": "0"}
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
            self._greet(ours, hidden, errors)
        finally:
            os.close(errors)

    def _greet(self, channel: socket.socket, hidden: tuple[Path, ...], errors: int) -> None:
        """Send the zygote its setting and wait until it is warm."""
        start = {
            "level": int(self.level),
            "limits": asdict(self.limits),
            "folder": str(self.folder),
            "result_file": str(self.result_file),
            "hidden": [str(path) for path in hidden],
        }
        try:
            wire.send(channel, start)
            reply = wire.receive(channel)
        except (OSError, ValueError) as error:
            raise InfraError(f"the zygote did not start: {error}; {_last_line(errors)}") from error
        if reply is None or "failed" in reply[0]:
            raise InfraError(f"the zygote did not start: {reply[0]['failed'] if reply else _last_line(errors)}")
        self.namespaces: dict[str, int] = reply[0]["namespaces"]
        self.sees: list[str] = reply[0]["sees"]


def _last_line(errors: int) -> str:
    """What the zygote (or bubblewrap) said before it died."""
    text = os.pread(errors, 1 << 16, 0).decode("utf-8", "replace").strip()
    return text.splitlines()[-1][:200] if text else "it ended without a word"
