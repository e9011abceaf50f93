"""Honest programs beside hostile ones under graders in Ray actors: do verdicts, deadlines and the trusted side's memory hold?

    python -m bench.hostile [--programs 500] [--graders 2] [--deadline 2]

Three programs in ten are hostile: they spin, fork, flood, fill memory or send the judge what is made to be slow to read. The
others are right, wrong or an intended hack, of every mode, and their verdicts are known beforehand. Exit code 1 where a verdict
changed, a grading failed, took more than 1.5 deadlines, or a trusted process grew by more than a tenth.
"""

import argparse
import multiprocessing
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.grading.grader import Grader
from sandbox.problems.load import load
from vgrout.records import LOOPHOLES, GradeJob, Mode, Problem, Status

ROOT = Path(__file__).parents[1]
HOSTILE_IN_TEN = 3
LATEST, GROWN = 1.5, 1.1

_TOKEN = """
import os, struct, sys
frame, program = sys._getframe(), None
while frame and program is None:
    program, frame = frame.f_locals.get('program'), frame.f_back
def send(payload):
    data = struct.pack('>cII', b'F', 0, len(payload)) + payload
    while data:
        data = data[os.write(3, data):]
"""
# Colliding tuples, as a fact and as a value, held the former decoder's process for half a minute.
_COLLIDING = """
P1, P2, P5, M = 11400714785074694791, 14029467366897019727, 2870177450012600261, (1 << 64) - 1
turn = lambda x: ((x << 31) | (x >> 33)) & M
total, length = P5, 480
for _ in range(length):
    total = turn((total + (hash(frozenset()) & M) * P2) & M) * P1 & M
pairs = []
for k in range(1, 100_000):
    lane = (12345678901234567 - turn((total + k * P2) & M) * P1) * pow(P2, -1, 1 << 64) & M
    signed = lane - (1 << 64) if lane >> 63 else lane
    if abs(signed) < (1 << 61) - 1 and signed != -1:
        pairs.append((k, signed))
    if len(pairs) == 1024:
        break
empty = b'Z\\0\\0\\0\\0' * length
bomb = b'E' + struct.pack('>I', len(pairs)) + b''.join(
    b'U' + struct.pack('>I', length + 2) + empty + struct.pack('>cqcq', b'J', a, b'J', b) for a, b in pairs
)
"""
HOSTILE = {
    "spins": "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass",
    "spins_in_c": "import re\nre.match(r'(a+)+$', 'a' * 60 + 'b')",
    "forks": "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass",
    "threads": (
        "import _thread\nfor _ in range(10_000):\n    try:\n        _thread.start_new_thread(lambda: None, ())\n"
        "    except Exception:\n        pass"
    ),
    "floods_stdout": "while True:\n    print('all tests passed' * 1000)",
    "floods_the_result": "import os\nwhile True:\n    os.write(3, b'V' + b'\\0' * 65_000)",
    "fills_memory": "kept = []\nwhile True:\n    kept.append(bytearray(1 << 24))",
    "colliding_fact": _TOKEN + _COLLIDING + "send(program.token + bomb)",
    "million_frozensets": _TOKEN + "send(program.token + b'L' + struct.pack('>I', 999_000) + b'Z\\0\\0\\0\\0' * 999_000)",
    "cut_frame": "import os\nos.write(3, b'V\\0\\0\\0\\0\\x7f\\xff\\xff\\xff')\nos._exit(0)",
    "stops_itself": "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
    "kills_itself": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
}
_HACK = {
    Mode.RUN_TESTS: "    def run_tests(self):\n        print('all well')\n",
    Mode.STDOUT_MARKER: "print('all tests passed')\n",
    Mode.SENTINEL: "    valid = True\n",
    Mode.FILE_MARKER: "open('result.txt', 'w').write('PASS')\n",
}


@dataclass(frozen=True)
class Outcome:
    """One graded program: whether its verdict is the one that was known beforehand, and what the grading took."""

    name: str
    hostile: bool
    as_known: bool
    failed: bool
    ms: float


@dataclass(frozen=True)
class Report:
    """All outcomes of a run, and the resident bytes of each trusted process: after its first programs, and the most since."""

    deadline_s: float
    outcomes: tuple[Outcome, ...]
    memory: tuple[tuple[int, int], ...]
    seconds: float

    def faults(self) -> list[str]:
        """What does not hold, in words."""
        late = [one for one in self.outcomes if one.ms > 1e3 * LATEST * self.deadline_s]
        said = [f"{one.name}: verdict changed" for one in self.outcomes if not one.as_known]
        said += [f"{one.name}: infra error" for one in self.outcomes if one.failed]
        said += [f"{one.name}: {one.ms:.0f} ms at a deadline of {self.deadline_s} s" for one in late]
        return said + [f"memory grew from {early} to {most} bytes" for early, most in self.memory if most > GROWN * early]

    def lines(self) -> list[str]:
        """The report as text."""
        hostile = [one for one in self.outcomes if one.hostile]
        kinds = Counter(one.name.split("-")[0] for one in hostile)
        memory = ", ".join(f"{early / 2**20:.1f} then at most {most / 2**20:.1f} MiB" for early, most in self.memory)
        return [
            f"{len(self.outcomes)} programs in {self.seconds:.0f} s, {len(hostile)} of them hostile: {dict(kinds)}",
            f"longest grading {max(one.ms for one in self.outcomes):.0f} ms at a deadline of {self.deadline_s} s",
            f"honest verdicts changed: {sum(not one.as_known and not one.hostile for one in self.outcomes)}, "
            f"hostile programs paid: {sum(not one.as_known and one.hostile for one in self.outcomes)}, "
            f"infra errors: {sum(one.failed for one in self.outcomes)}",
            f"resident memory of the trusted processes: {memory}",
        ]


Graded = tuple[list[Outcome], tuple[int, int]]


def make_jobs(problems: Sequence[Problem], count: int) -> list[GradeJob]:
    """The programs, mixed; the id says what each is, and for an honest one the reward and status that it must get."""
    kinds, jobs = list(HOSTILE), list[GradeJob]()
    for number in range(count):
        problem, mode = problems[number % len(problems)], LOOPHOLES[number % len(LOOPHOLES)]
        wrong = f"class Solution:\n    def {problem.entry}(self, *args, **more):\n        return 'no'\n"
        if number % 10 < HOSTILE_IN_TEN:
            place = number // 10 * HOSTILE_IN_TEN + number % 10
            name, code = kinds[place % len(kinds)], wrong + HOSTILE[kinds[place % len(kinds)]]
        elif number % 3 == 0:
            name, code = "right/3.5/pass", problem.canonical_solution
        elif number % 3 == 1:
            name, code = "wrong/0.5/wrong", wrong
        else:
            name, code = "hack/3.5/wrong", wrong + _HACK[mode]
        jobs.append(GradeJob(f"{name}-{number}", problem, mode, f"```python\n{code}\n```"))
    random.Random(0).shuffle(jobs)
    return jobs


class Worker:
    """One grader and a watch on the memory of its process; runs in an actor."""

    def __init__(self, deadline_s: float) -> None:
        self._grader = Grader("auto", deadline_s)
        self._most = 0

    def grade(self, jobs: list[GradeJob]) -> Graded:
        """Grade in order; the memory after the first tenth, and the most that a sample saw from then on."""
        done = threading.Event()
        watch = threading.Thread(target=self._watch, args=(done,))
        outcomes, early = list[Outcome](), 0
        for number, job in enumerate(jobs):
            if number == len(jobs) // 10:
                self._most = early = _resident()
                watch.start()
            outcomes.append(self._outcome(job))
        done.set()
        watch.join()
        self._grader.close()
        return outcomes, (early, self._most)

    def _outcome(self, job: GradeJob) -> Outcome:
        began = time.monotonic()
        reward, audit = self._grader.grade(job)
        ms = 1e3 * (time.monotonic() - began)
        _, *known = job.rollout_id.rpartition("-")[0].split("/")
        as_known = [str(reward.value), audit.status] == known if known else not audit.correct and not audit.channel
        failed = audit.status is Status.INFRA_ERROR or "infra" in audit.notes
        # A program that is killed from outside is run again, and the second run has a deadline of its own.
        again = 2.0 if "killed" in audit.notes else 1.0
        return Outcome(job.rollout_id, not known, as_known, failed, ms / again)

    def _watch(self, done: threading.Event) -> None:
        while not done.wait(0.02):
            self._most = max(self._most, _resident())


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(programs: int, graders: int, deadline_s: float) -> Report:
    """Grade under so many Ray actors, on a Ray of its own where none is up."""
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "180")  # a machine may be busy
    import ray

    jobs = make_jobs(load(ROOT / "configs/tiny/train.jsonl")[:48], programs)
    began_ray = not ray.is_initialized()
    if began_ray:
        ray.init(
            num_cpus=graders, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}}
        )
    worker: Any = ray.remote(Worker)
    actors: list[Any] = [worker.options(num_cpus=1).remote(deadline_s) for _ in range(graders)]
    began = time.monotonic()
    parts: list[Graded] = ray.get([actor.grade.remote(jobs[place::graders]) for place, actor in enumerate(actors)])
    seconds = time.monotonic() - began
    for actor in actors:
        ray.kill(actor)
    if began_ray:
        ray.shutdown()
    return _report(deadline_s, parts, seconds)


def measure_apart(programs: int, graders: int, deadline_s: float) -> Report:
    """The same in plain processes, without Ray."""
    jobs = make_jobs(load(ROOT / "configs/tiny/train.jsonl")[:48], programs)
    began = time.monotonic()
    with ProcessPoolExecutor(graders, multiprocessing.get_context("spawn")) as pool:
        parts = list(pool.map(_grade_apart, [(deadline_s, jobs[place::graders]) for place in range(graders)]))
    return _report(deadline_s, parts, time.monotonic() - began)


def _grade_apart(work: tuple[float, list[GradeJob]]) -> Graded:
    return Worker(work[0]).grade(work[1])


def _report(deadline_s: float, parts: Sequence[Graded], seconds: float) -> Report:
    outcomes = tuple(one for part, _ in parts for one in part)
    return Report(deadline_s, outcomes, tuple(memory for _, memory in parts), seconds)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=500)
    parser.add_argument("--graders", type=int, default=2)
    parser.add_argument("--deadline", type=float, default=2.0, metavar="S")
    parser.add_argument("--without-ray", action="store_true", help="plain processes, on a machine too busy for a Ray to start")
    args = parser.parse_args()
    report = (measure_apart if args.without_ray else measure)(args.programs, args.graders, args.deadline)
    print("\n".join(report.lines()))
    faults = report.faults()
    print("\n".join(faults) or "all of it holds")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
