"""SIGINT and SIGTERM while a run is driven: the first one asks it to stop after the running update, the second ends it at once.

Invariant: whatever the second one interrupts, the last checkpoint is whole and the journal's tail can be cut.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Interrupted(Exception):
    """SIGINT or SIGTERM arrived; the run stopped after a whole update and can be resumed."""

    def __init__(self, signum: int) -> None:
        self.signum = signum
        super().__init__(signal.Signals(signum).name)


class RunStopped(Exception):
    """The run cannot go on by itself, but can be resumed; the message says why."""


class StopFlag:
    """The signal that asked to stop, or None."""

    signum: int | None = None

    def set(self, signum: int, _frame: Any) -> None:
        """Handle a signal. Raises KeyboardInterrupt for the second one."""
        if self.signum:
            raise KeyboardInterrupt
        self.signum = signum


@contextmanager
def stop_signals() -> Iterator[StopFlag]:
    """Route both signals into a StopFlag, and put the old handlers back."""
    flag = StopFlag()
    previous = {s: signal.signal(s, flag.set) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield flag
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
