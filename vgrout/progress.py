"""Progress lines with an ETA on standard error, for people; machines read metrics.jsonl."""

import os
import sys
import time
from pathlib import Path


def duration(seconds: float) -> str:
    """Seconds as `45 s`, `3 min 20 s` or `2 h 05 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def phase(text: str) -> None:
    """Say what begins now, with the seconds since this process was started."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    since = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    print(f"[{since:5.1f} s] {text}", file=sys.stderr, flush=True)


class Progress:
    """Counts steps of `total` and prints one line per step: what, how far, how long still."""

    def __init__(self, label: str, total: int, done: int = 0) -> None:
        self.label, self.total, self.done = label, total, done
        self.first, self.start = done, time.monotonic()

    def skip(self, count: int) -> None:
        """Count steps that were done before; they say nothing about how long the rest takes."""
        self.done, self.first = self.done + count, self.first + count

    def step(self, text: str = "", count: int = 1) -> None:
        """Advance by `count` and print."""
        self.done += count
        elapsed = time.monotonic() - self.start
        rest = elapsed / (self.done - self.first) * (self.total - self.done)
        line = f"{self.label} {self.done}/{self.total}  {text}  elapsed {duration(elapsed)}, ETA {duration(rest)}"
        print(line, file=sys.stderr, flush=True)
