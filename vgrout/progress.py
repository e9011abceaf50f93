"""What people see of a command that takes long, on standard error; machines read metrics.jsonl.

Invariant: inside `alive` a command is never silent for long: where nothing else was said for QUIET_S seconds, a line says what
it is at. On a terminal that line stays in its place and is written over; elsewhere every line is a plain one of its own.
"""

import os
import shutil
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

QUIET_S = 4.0
REDRAW_S = 0.5
RECENT = 5  # steps whose median duration the ETA is made of


def duration(seconds: float) -> str:
    """Seconds as `45 s`, `3 min 20 s` or `2 h 05 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Voice:
    """The one writer of progress in this process."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.doing, self.since = "", time.monotonic()
        self.spoke = time.monotonic()
        self.drawn = False  # whether the terminal's last line is ours to write over
        self.listeners = 0  # how many `alive` are open

    def say(self, text: str) -> None:
        """Print a line that stays."""
        with self.lock:
            print(f"{self._clear()}{text}", file=sys.stderr, flush=True)
            self.spoke = time.monotonic()

    def at(self, doing: str) -> None:
        """From now on `doing` is what the command is at: said in a silence, and on a terminal soon. Empty: nothing long."""
        with self.lock:
            if doing != self.doing:
                self.doing, self.since = doing, time.monotonic()
            if not doing and self.drawn:
                print(self._clear(), end="", file=sys.stderr, flush=True)

    def pulse(self) -> None:
        """Say what the command is at, if it is time."""
        with self.lock:
            now, live = time.monotonic(), sys.stderr.isatty()
            if not self.doing or now - self.spoke < (REDRAW_S if live else QUIET_S):
                return
            line = f"... {self.doing} ({duration(now - self.since)})"
            if live:
                width = shutil.get_terminal_size().columns
                print(f"{self._clear()}{line[: width - 1]}", end="", file=sys.stderr, flush=True)
                self.drawn = True
            else:
                print(line, file=sys.stderr, flush=True)
            self.spoke = now

    def _clear(self) -> str:
        was, self.drawn = self.drawn, False
        return "\r\x1b[2K" if was else ""


VOICE = Voice()
say, at = VOICE.say, VOICE.at


@contextmanager
def alive() -> Iterator[None]:
    """While this is open, a silence is broken by what `phase`, `at` or `Progress` said last. May be nested."""
    with VOICE.lock:
        VOICE.listeners += 1
        first = VOICE.listeners == 1
    end = threading.Event()

    def beat() -> None:
        while not end.wait(REDRAW_S):
            VOICE.pulse()

    thread = threading.Thread(target=beat, name="progress", daemon=True)
    if first:
        thread.start()
    try:
        yield
    finally:
        end.set()
        with VOICE.lock:
            VOICE.listeners -= 1
        if first:
            thread.join()
            VOICE.at("")


def phase(text: str) -> None:
    """Say what begins now, with the seconds since this process was started."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    since = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    at(text)
    say(f"[{since:5.1f} s] {text}")


class Progress:
    """Counts steps of `total` and prints one line per step: what, how far, how long still.

    The rest is judged by the median of the last steps. Nothing is promised before the second one: the first has warmed up.
    """

    def __init__(self, label: str, total: int, done: int = 0) -> None:
        self.label, self.total, self.done = label, total, done
        self.start = self.last = time.monotonic()
        self.taken: list[float] = []  # seconds of each step that was made here

    def skip(self, count: int) -> None:
        """Count steps that were done before; they say nothing about how long the rest takes."""
        self.done += count

    def inside(self, text: str) -> None:
        """Say where the running step is."""
        at(f"{self.label} {min(self.done + 1, self.total)} of {self.total}: {text}")  # not `1/4`, which says that it is done

    def step(self, text: str = "", count: int = 1) -> None:
        """Advance by `count` and print."""
        now = time.monotonic()
        self.taken.append((now - self.last) / count)
        self.done, self.last = self.done + count, now
        rest = self.rest()
        eta = "done" if self.done >= self.total else "ETA after the next" if rest is None else f"ETA {duration(rest)}"
        say(f"{self.label} {self.done}/{self.total}  {text}  elapsed {duration(now - self.start)}, {eta}")
        at(f"{self.label} {self.done}/{self.total} is done")

    def rest(self) -> float | None:
        """Seconds that the other steps will take; None before the second step."""
        if len(self.taken) < 2:
            return None
        return statistics.median(self.taken[1:][-RECENT:]) * (self.total - self.done)
