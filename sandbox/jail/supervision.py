"""One supervised run: hand the program over, drain its output, keep the deadline, wait until all of it is dead, read its result.

Invariant: the result file is read once, when every process of the program is dead, so nothing that it says can end a run
early; the trusted side holds OUTPUT_KEPT bytes of stdout and nothing of stderr; the first cause to end a program stands;
every descriptor that a run opens is closed when it ends, however it ends.
"""

import os
import select
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import BinaryIO

from sandbox.jail import wire
from sandbox.jail.program import Program

OUTPUT_KEPT = 1 << 16
OUTPUT_LIMIT = 256 << 20
REPLY_S = 30.0

# Time that a program spends queueing for a processor is not its own, but for so long at most, in deadlines. The rest of the
# half a deadline by which a run may be late is for its end: a gibibyte to free, a result to read, on a busy machine.
MAX_GRACE = 0.2

Read = Callable[[BinaryIO], None]
Listen = Callable[[bytes], None]


class End(Enum):
    """Why a run ended."""

    EXITED = "exited"
    SIGNALLED = "signalled"
    TIMEOUT = "timeout"
    OUTPUT_LIMIT = "output_limit"


@dataclass(frozen=True)
class Ended:
    """How a run ended: exit code (negative: a signal), wall-clock ms, the words on the status pipe, stdout's beginning.

    `report` is the text of the run's result.txt.
    """

    end: End
    code: int
    ms: float
    status: bytes = b""
    stdout: bytes = b""
    report: str = ""

    @property
    def by_itself(self) -> bool:
        """Whether neither the deadline nor a limit ended it."""
        return self.end in (End.EXITED, End.SIGNALLED)


class Supervision:
    """One program under supervision."""

    def __init__(
        self, channel: socket.socket, run: wire.Message, program: Program, read: Read, listen: Listen, deadline_s: float
    ) -> None:
        """`run` goes to the zygote as it is. `listen` gets stdout as it comes; `read` gets the result file at the end."""
        self.channel, self.read, self.listen = channel, read, listen
        self.started, self.deadline_s = time.monotonic(), deadline_s
        self.status, self.stdout, self.total = bytearray(), bytearray(), 0
        self.cause: End | None = None
        self.handle = -1
        self.dead = False
        self.result = os.memfd_create("result")
        self.open: dict[int, Listen] = {}
        self._launch(run, program)

    def _launch(self, run: wire.Message, program: Program) -> None:
        payload = os.memfd_create("program")
        pipes = [os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK) for _ in range(3)]
        takers = (self._on_stdout, self._on_stderr, self._on_status)
        self.open = {reader: take for (reader, _), take in zip(pipes, takers, strict=True)}
        writers = [writer for _, writer in pipes]
        try:
            for writer in writers:
                os.set_blocking(writer, True)
            _write_all(payload, program.dump())
            wire.send(self.channel, run, [payload, *writers[:2], self.result, writers[2]])
        except BaseException:
            self._close_all()
            raise
        finally:
            for one in (payload, *writers):
                os.close(one)

    def supervise(self) -> Ended:
        """Drain and watch until the zygote reports that all is dead; then read the result."""
        try:
            message, descriptors = self._reply()
            self.handle = descriptors[0]
            self.forked = time.monotonic()  # that the zygote had to wait before it could fork is not the program's time
            self.deadline = self.forked + self.deadline_s
            while (message := self._step()) is None:
                pass
            while self.open:  # the writers are dead, so this ends at end-of-file
                self._drain(list(self.open))
            with os.fdopen(os.dup(self.result), "rb") as file:
                self.read(file)
        finally:
            self._close_all()
        code = int(message["code"])
        end = self.cause or (End.SIGNALLED if code < 0 else End.EXITED)
        return Ended(end, code, 1e3 * (time.monotonic() - self.started), bytes(self.status), bytes(self.stdout))

    def _step(self) -> wire.Message | None:
        """Wait for output, the end or the deadline; return the zygote's report once it is there."""
        poller = select.poll()
        # The status pipe holds all that is ever written to it, so it is read at the end: each wake-up costs both sides.
        for descriptor in [*(one for one, take in self.open.items() if take != self._on_status), self.channel.fileno()]:
            poller.register(descriptor, select.POLLIN)
        left = self.deadline - time.monotonic() if self.cause is None and not self.dead else REPLY_S
        ready = [descriptor for descriptor, _ in poller.poll(max(0.0, left) * 1e3)]
        if not ready and (self.cause is not None or self.dead):
            raise TimeoutError("the zygote reports no end of a dead program")
        self._drain([one for one in ready if one in self.open])
        if self.channel.fileno() in ready:  # first, so that a program that ended in time is not late because this side was
            return self._reply()[0]
        if self.cause is None and not self.dead and time.monotonic() > self.deadline:
            self._end_or_extend()
        return None

    def _end_or_extend(self) -> None:
        """Kill at the deadline; but time that the program spent queueing for a processor does not count, up to MAX_GRACE.

        A program that is dead by now has only its report outstanding: that the zygote is slow to send it is no timeout.
        """
        self.dead = _is_dead(self.handle)
        if self.dead:
            return
        waited = min(_queued_s(self.handle), MAX_GRACE * self.deadline_s)
        self.deadline = self.forked + self.deadline_s + waited
        if time.monotonic() > self.deadline:
            self._kill(End.TIMEOUT)

    def _reply(self) -> tuple[wire.Message, list[int]]:
        reply = wire.receive(self.channel)
        if reply is None:
            raise EOFError("the zygote died")
        if "failed" in reply[0]:
            raise OSError(reply[0]["failed"])
        return reply

    def _drain(self, ready: list[int]) -> None:
        for descriptor in ready:
            with suppress(BlockingIOError):
                chunk = os.read(descriptor, 1 << 16)
                if chunk:
                    self.open[descriptor](chunk)
                else:
                    del self.open[descriptor]
                    os.close(descriptor)

    def _on_stdout(self, chunk: bytes) -> None:
        self.stdout += chunk[: OUTPUT_KEPT - len(self.stdout)]
        self.listen(chunk)
        self._on_stderr(chunk)

    def _on_stderr(self, chunk: bytes) -> None:
        self.total += len(chunk)
        if self.total > OUTPUT_LIMIT:
            self._kill(End.OUTPUT_LIMIT)

    def _on_status(self, chunk: bytes) -> None:
        self.status += chunk  # written before the program runs: a few hundred bytes at most

    def _kill(self, cause: End) -> None:
        """Kill once; the first cause stands."""
        if self.cause is None:
            self.cause = cause
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.handle, signal.SIGKILL)

    def _close_all(self) -> None:
        for descriptor in [*self.open, self.result, self.handle]:
            if descriptor >= 0:
                os.close(descriptor)
        self.open, self.result, self.handle = {}, -1, -1


def _is_dead(handle: int) -> bool:
    """Whether the process of a pidfd has ended; its zygote need not have reaped it."""
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    return bool(poller.poll(0))


def pid_of(handle: int) -> int | None:
    """The process id that a pidfd stands for, as this side's /proc numbers it; None once it is gone."""
    try:
        lines = Path(f"/proc/self/fdinfo/{handle}").read_text().splitlines()
    except FileNotFoundError:
        return None
    found = [int(line.split()[1]) for line in lines if line.startswith("Pid:")]
    return found[0] if found and found[0] > 0 else None


def _queued_s(handle: int) -> float:
    """Seconds that the program of a pidfd has waited, runnable, for a processor; 0 where the kernel does not count it."""
    try:
        return int(Path(f"/proc/{pid_of(handle)}/schedstat").read_text().split()[1]) / 1e9
    except (FileNotFoundError, ProcessLookupError):
        return 0.0


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
