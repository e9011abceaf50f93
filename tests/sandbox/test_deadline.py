"""The deadline is wall-clock time less what a program spent queueing for a processor, and no more than four times itself."""

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
def test_queueing_is_not_the_programs_fault(crowded: None) -> None:
    """0.6 s of work under a deadline of 1 s takes about 2.4 s here; 60 s of sleep, which queues for nothing, is cut at once."""
    problem = make_problem([Case((), {}, 1)])
    with Grader("L2", 1.0) as grader:
        _, audit = grade(grader, problem, WORK.format(seconds=0.6))
        if audit.status is Status.TIMEOUT and audit.ms > 4000:
            pytest.skip("other work crowds this machine so much that 0.6 s of work takes more than four deadlines of 1 s")
        assert audit.status is Status.PASS
        assert audit.ms > 1000, "the processor was not crowded, so this test has shown nothing"
        _, audit = grade(grader, problem, SLEEP)
        assert audit.status is Status.TIMEOUT


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
