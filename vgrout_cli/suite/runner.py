"""Run the jobs of a suite, several at once, each in a process of its own.

Invariants: no child process outlives the suite, however the suite ends (the kernel kills them). SIGINT and SIGTERM are passed to
each child once; it finishes its update, writes a checkpoint and ends. A run that fails does not stop the others.
"""

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from vgrout.progress import duration
from vgrout.run_directory import RunDir
from vgrout_cli.suite.comparable import check_own, check_seed
from vgrout_cli.suite.plan import Job
from vgrout_cli.suite.state import RunStatus, SuiteState, is_done

CODE = Path(__file__).resolve().parents[2]
POLL_S = 0.2
TELL_S = 15.0  # between two lines about the same run
PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)  # loaded before any fork


@dataclass
class Child:
    """One running process."""

    job: Job
    process: subprocess.Popen[bytes]
    start: float
    told: float


class Runner:
    """Runs what is not done, in order, until all is done, failed or stopped."""

    def __init__(self, jobs: list[Job], state: SuiteState, parallel: int) -> None:
        self.jobs, self.state, self.parallel = jobs, state, parallel
        self.waiting = [job for job in jobs if not is_done(job.path)]
        self.children: list[Child] = []
        self.stop: int | None = None

    def run(self) -> int | None:
        """Returns the signal that stopped it, or None. Raises UserError where a run is not comparable with its seed's others."""
        previous = {s: signal.signal(s, self._on_signal) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            while self.children or (self.waiting and not self.stop):
                self._start_ready()
                time.sleep(POLL_S)
                for child in list(self.children):
                    self._look_at(child)
            return self.stop
        finally:
            for child in self.children:
                child.process.kill()
                child.process.wait()
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _on_signal(self, signum: int, _frame: FrameType | None) -> None:
        """The first is handed on; a second kills (checkpoints are whole at any moment)."""
        for child in self.children:
            child.process.send_signal(signal.SIGKILL if self.stop else signal.SIGINT)
        if not self.stop:
            self._say(f"stopping after the running update of {len(self.children)} runs; once more to stop now")
        self.stop = signum

    def _start_ready(self) -> None:
        for job in list(self.waiting):
            if self.stop or len(self.children) >= self.parallel:
                return
            need = self.state.runs[job.needs]["status"] if job.needs else RunStatus.DONE
            to_come = need == RunStatus.RUNNING or job.needs in {other.name for other in self.waiting}
            if need == RunStatus.DONE:
                self.waiting.remove(job)
                self.children.append(self._start(job))
                self.state.change(job.name, RunStatus.RUNNING)
            elif not to_come:
                self.waiting.remove(job)
                self.state.change(job.name, RunStatus.MISSING, error=f"needs {job.needs}, which is {need}")
                self._say(f"{job.name}: not run; it needs {job.needs}, which is {need}")

    def _start(self, job: Job) -> Child:
        job.path.mkdir(parents=True, exist_ok=True)
        about = job.path / "run.json"
        resumable = about.is_file() and RunDir.open(job.path).checkpoints()
        if not resumable:
            about.unlink(missing_ok=True)  # of a run that ended before its first checkpoint: nothing to go on from
        flags = ("--resume", str(job.path)) if resumable else (*job.flags, "--out", str(job.path))
        with (job.path / "log.txt").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "vgrout_cli.main", "train", *flags, "--eval-curve"],
                env=_this_code_first(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a terminal's Ctrl-C reaches the suite alone, which hands it on once
                preexec_fn=_die_with(os.getpid()),
            )
        self._say(f"{job.name}: {'goes on' if resumable else 'starts'}")
        return Child(job, process, time.monotonic(), time.monotonic())

    def _look_at(self, child: Child) -> None:
        """Tell how far a child is; where it has ended, say how and note it."""
        code, now = child.process.poll(), time.monotonic()
        if code is None:
            if now - child.told >= TELL_S:
                child.told = now
                self._say(f"{child.job.name}: {last_line(child.job.path / 'log.txt', '/') or 'starting'}")
            return
        self.children.remove(child)
        seconds, name = now - child.start, child.job.name
        if code == 0 and is_done(child.job.path):
            self.state.change(name, RunStatus.DONE, seconds)
            self._say(f"{name}: done in {duration(seconds)}")
            check_own(child.job)
            check_seed([job for job in self.jobs if job.config.seed == child.job.config.seed])
        elif self.stop:
            self.state.change(name, RunStatus.MISSING, seconds, "interrupted; goes on when the suite is run again")
            self._say(f"{name}: interrupted")
        else:
            error = f"exit code {code}: {last_line(child.job.path / 'log.txt')}"
            self.state.change(name, RunStatus.FAILED, seconds, error)
            self._say(f"{name}: FAILED, {error}")

    def _say(self, text: str) -> None:
        """One line: what, how many are done, how long the rest will take."""
        left, typical = self.state.left(), self.state.typical_seconds()
        under_way = sum(time.monotonic() - child.start for child in self.children)
        eta = "after the first run" if typical is None else duration(max(0.0, left * typical - under_way) / self.parallel)
        total = len(self.jobs)
        print(f"[{total - left}/{total} done, ETA {eta}] {text}", file=sys.stderr, flush=True)


def last_line(log: Path, word: str = "") -> str:
    """The last line of a log that says something (with `word` in it), without colour codes; empty where there is none."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()] if log.is_file() else []
    return next((re.sub(r"\x1b\[[0-9;]*m", "", line) for line in reversed(lines) if line and word in line), "")


def _this_code_first() -> dict[str, str]:
    """The environment of a child: it imports the code that runs here (`-P` keeps the working directory off its path)."""
    old = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(CODE), *([old] if old else [])])}


def _die_with(parent: int) -> Callable[[], None]:
    """What a child does before it becomes `vgrout train`: ask the kernel to be killed when the suite ends."""

    def before_exec() -> None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the suite ended before the kernel knew
            os._exit(1)

    return before_exec
