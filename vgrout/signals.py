"""SIGINT, SIGTERM and SIGHUP during a run: the first asks it to stop after the running update, the second ends it at once.

Invariant: after the first signal the run ends within the given time, in the middle of the update if that takes longer. Whatever
is interrupted, the last checkpoint is whole and an incomplete record at the end of the journal is recognised.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class Interrupted(Exception):
    """SIGINT, SIGTERM or SIGHUP arrived; the run stopped after a whole update and can be resumed."""

    resume_command = "vgrout train --resume RUN"  # with the run's folder, where that is known

    def __init__(self, signum: int) -> None:
        self.signum = signum
        super().__init__(signal.Signals(signum).name)


class AtOnce(KeyboardInterrupt):
    """A second signal arrived, or the first one's time is over: the run ends where it is and can be resumed."""

    resume_command = Interrupted.resume_command

    def __init__(self, signum: int, why: str) -> None:
        self.signum = signum
        super().__init__(why)


class RunStopped(Exception):
    """The run cannot go on by itself, but can be resumed; the message says why."""

    resume_command = Interrupted.resume_command


class StopFlag:
    """The signal that asked to stop, or None. From then on there are `patience_s` seconds."""

    signum: int | None = None
    at_once: AtOnce | None = None

    def __init__(self, patience_s: float) -> None:
        self.patience_s = patience_s

    def set(self, signum: int, _frame: FrameType | None) -> None:
        """Handle a signal. Raises AtOnce for the second one."""
        if self.signum:
            self._end(signum, f"a second {signal.Signals(signum).name}")
        self.signum = signum
        # Not print: the handler may have interrupted one.
        os.write(2, f"\nvgrout: stopping after the running update, in {self.patience_s:g} s at most; again: at once\n".encode())
        signal.setitimer(signal.ITIMER_REAL, self.patience_s)

    def late(self, _signum: int, _frame: FrameType | None) -> None:
        """The time is over. Raises AtOnce."""
        assert self.signum
        self._end(self.signum, f"the running update did not end within runtime.stop_s = {self.patience_s:g} s")

    def _end(self, signum: int, why: str) -> NoReturn:
        self.at_once = AtOnce(signum, why)
        raise self.at_once


@contextmanager
def stop_signals(patience_s: float) -> Iterator[StopFlag]:
    """Route the signals into a StopFlag, and put the old handlers back. Outside the main thread nothing is routed."""
    flag = StopFlag(patience_s)
    if threading.current_thread() is not threading.main_thread():  # Python lets the main thread alone handle signals
        yield flag
        return
    handlers = {signal.SIGINT: flag.set, signal.SIGTERM: flag.set, signal.SIGALRM: flag.late}
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # under nohup a closed terminal stops nothing
        handlers[signal.SIGHUP] = flag.set
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield flag
    except KeyboardInterrupt:
        if flag.at_once is None:
            raise
        raise flag.at_once from None  # Ray raises a KeyboardInterrupt of its own in place of what a handler raised
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in previous.items():
            signal.signal(number, handler)
