"""The deadline is wall-clock time less what a program spent queueing for a processor; a grading ends within one and a half."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from small_problems import grade, make_problem

from sandbox.grading.grader import Grader
from sandbox.grading.payment import what_is_left
from sandbox.jail import supervision
from vgrout.records import Case, Status

WORK = """
import time
class Solution:
    def solve(self):
        while time.process_time() < {seconds}:
            pass
        return 1
"""
SLEEP = "import time\nclass Solution:\n    def solve(self):\n        time.sleep(60)\n"


@pytest.fixture
def crowded() -> Iterator[None]:
    """This process and three busy ones share one processor."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    yield
    for one in busy:
        one.kill()
        one.wait()
    os.sched_setaffinity(0, before)


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="this kernel does not count queueing")
def test_queueing_is_seen(crowded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that works beside three busy processes is seen to queue, and one that sleeps is not."""
    seen: list[float] = []
    real = supervision._queued_s
    monkeypatch.setattr(supervision, "_queued_s", lambda handle: seen.append(real(handle)) or 0.0)
    with Grader("L2", 0.5) as grader:
        for program in (WORK.format(seconds=30), SLEEP):
            assert grade(grader, make_problem([Case((), {}, 1)]), program)[1].status is Status.TIMEOUT
    busy, asleep = seen
    assert busy > asleep


def test_queueing_is_not_the_programs_fault_up_to_a_fifth(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same sleep of 1.06 deadlines is in time if a fifth of a deadline was queueing, and late if nothing was."""
    sleep = "import time\nclass Solution:\n    def solve(self):\n        time.sleep({})\n        return 1\n"
    problem = make_problem([Case((), {}, 1)])
    with Grader("L2", 1.6) as grader:
        for queued, slept, status in ((1.0, 1.7, Status.PASS), (0.0, 1.7, Status.TIMEOUT), (1000.0, 60.0, Status.TIMEOUT)):
            monkeypatch.setattr(supervision, "_queued_s", lambda handle, queued=queued: queued)
            assert grade(grader, problem, sleep.format(slept))[1].status is status, (queued, slept)


@pytest.mark.parametrize("deadline_s", [0.5, 2.0, 10.0])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.5, 1.0, 1.2])
def test_all_runs_of_a_grading_share_one_and_a_half_deadlines(deadline_s: float, share: float) -> None:
    """Worst case: every run is killed at its deadline with all its grace. the rest is left for the ends of three runs."""
    taken = share * deadline_s
    for _ in range(2):
        left = what_is_left(deadline_s, 1e3 * taken)
        assert 0 < left <= deadline_s
        taken += left * (1 + supervision.MAX_GRACE)
    assert taken <= 1.5 * deadline_s


def test_work_beyond_the_deadline_is_cut() -> None:
    with Grader("L2", 0.5) as grader:
        assert grade(grader, make_problem([Case((), {}, 1)]), WORK.format(seconds=30))[1].status is Status.TIMEOUT


def hold_zygote(grader: Grader, seconds: float) -> None:
    """Stop the zygote once it has forked a program, and let it go on later."""
    zygote = grader._runner._process.pid
    children = Path(f"/proc/{zygote}/task/{zygote}/children")
    while not children.read_text():
        time.sleep(0.005)
    time.sleep(0.04)  # until it has said that it forked
    os.kill(zygote, signal.SIGSTOP)
    time.sleep(seconds)
    with suppress(ProcessLookupError):
        os.kill(zygote, signal.SIGCONT)


SHORT = "import time\nclass Solution:\n    def solve(self):\n        time.sleep(0.2)\n        return 1\n"


def test_a_program_that_is_dead_in_time_is_not_late_because_the_zygote_is() -> None:
    with Grader("L2", 2.0) as grader:
        holder = threading.Thread(target=hold_zygote, args=(grader, 2.6))
        holder.start()
        _, audit = grade(grader, make_problem([Case((), {}, 1)]), SHORT)
        holder.join()
    assert (audit.status, "infra" in audit.notes) == (Status.PASS, False)
    assert audit.ms > 2000, "the zygote was not held beyond the deadline, so this test has shown nothing"


def test_a_zygote_that_never_reports_is_an_infrastructure_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "REPLY_S", 0.5)
    with Grader("L2", 1.0) as grader:
        holder = threading.Thread(target=hold_zygote, args=(grader, 2.5))
        holder.start()
        _, audit = grade(grader, make_problem([Case((), {}, 1)]), SHORT)
        holder.join()
    assert audit.status is Status.PASS, "the second attempt, on a fresh zygote"
    assert len(audit.notes["infra"]) == 1 and "no end of a dead program" in audit.notes["infra"][0]
