"""2,000 gradings by two workers, a tenth of them hostile: nothing leaks, nothing is lost, nothing is answered twice."""

import os
import shutil
import tempfile
import threading
from collections import Counter
from pathlib import Path
from statistics import median

import pytest
from attack import Secrets, correct, problem
from attacks_channels import CHANNELS
from attacks_forgery import FORGERY
from attacks_host import HOST
from attacks_liveness import LIVENESS
from attacks_parser import PARSER
from processes import descendants, resident_bytes

from sandbox.grading.grader import Grader
from vgrout.records import Audit, GradeJob, Mode, Status

JOBS = 2_000
WORKERS = 2
DEADLINE_S = 3.0  # a right program may take long on a busy machine; 8 of the hostile ones run into it
WRONG = "```python\nclass Solution:\n    def solve(self, n):\n        return 0\n    def run_tests(self):\n        pass\n```"


def make_jobs(planted: Secrets) -> list[GradeJob]:
    """Nine honest jobs (right and wrong, over all modes), then a hostile one; one hostile job in 25 runs into its deadline."""
    quick = [attack for attack in (*FORGERY, *PARSER, *HOST, *CHANNELS, *LIVENESS) if not attack.slow]
    slow = [attack for attack in LIVENESS if attack.slow]
    jobs = []
    for number in range(JOBS):
        mode = list(Mode)[number % 5]
        if number % 10 == 9:
            place = number // 10
            attack = slow[place % len(slow)] if place % 25 == 24 else quick[place % len(quick)]
            jobs.append(GradeJob(f"hostile-{number}", problem(), mode, f"```python\n{attack.code(planted)}\n```"))
        else:
            name, text = (("right", correct()), ("wrong", WRONG))[number % 2]
            jobs.append(GradeJob(f"{name}-{number}", problem(), mode, text))
    return jobs


def as_expected(audit: Audit) -> bool:
    """Right is correct, wrong earns by run_tests alone, hostile earns nothing, and the grader itself never failed."""
    if audit.status is Status.INFRA_ERROR or "infra" in audit.notes:
        return False
    kind = audit.rollout_id.split("-")[0]
    channel_is_right = {
        "right": True,
        "wrong": audit.exploited == (audit.mode == Mode.RUN_TESTS),
        "hostile": not audit.channel,
    }[kind]
    return channel_is_right and audit.correct == (kind == "right")


@pytest.mark.slow
def test_soak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = Secrets.plant()
    (planted.folder / "pass.txt").write_text("PASS")
    jobs = make_jobs(planted)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("sandbox.jail.runner._scratch_place", lambda: None)  # it would be /dev/shm, which others use too
    processes, descriptors = descendants(os.getpid()), len(list(Path("/proc/self/fd").iterdir()))
    answers: list[str] = []  # ids alone: audits kept here would be counted as the trusted side's memory
    faults: list[Audit] = []
    memory: list[int] = []
    graders = [Grader("L2", DEADLINE_S) for _ in range(WORKERS)]
    zygotes = descendants(os.getpid()) - processes

    def work(place: int) -> None:
        for job in jobs[place::WORKERS]:
            audit = graders[place].grade(job)[1]
            answers.append(audit.rollout_id)
            if not as_expected(audit):
                faults.append(audit)
            if len(answers) % 40 == 0:
                memory.append(resident_bytes())

    threads = [threading.Thread(target=work, args=(place,)) for place in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert descendants(os.getpid()) - processes == zygotes, "a zygote was replaced or a process was left"
    for grader in graders:
        assert list(grader._runner.folder.iterdir()) == []
        grader.close()
    assert descendants(os.getpid()) == processes
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
    assert list(tmp_path.iterdir()) == []

    assert Counter(answers) == Counter(job.rollout_id for job in jobs)
    assert sorted(path.name for path in planted.folder.iterdir()) == [".ssh", "pass.txt", "secret.txt"]
    assert planted.file.read_text() == planted.token
    shutil.rmtree(planted.folder)
    assert not faults, faults[:3]
    # Medians: a sample that is taken while the other worker holds a flood's capped output is some MiB above its neighbours.
    early, late = median(memory[5:15]), median(memory[-10:])
    text = f"{early / 2**20:.1f} MiB after 200 to 600 gradings, {late / 2**20:.1f} MiB after 1,600 to 2,000"
    print(f"resident memory of the trusted side: {text}")
    assert late <= 1.05 * early
