"""One owner per run directory: two at once, a killed owner, a recycled pid, an owner on another machine."""

import dataclasses
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vgrout import run_lock
from vgrout.errors import UserError
from vgrout.run_lock import Owner, RunLock


def _race(barrier, folder, answers):
    barrier.wait()
    try:
        RunLock(folder)
        answers.put("owner")
    except UserError:
        answers.put("refused")
    barrier.wait()  # nobody ends before all have tried


@pytest.mark.parametrize("left_behind", [False, True], ids=["empty folder", "a dead owner's folder"])
def test_of_many_at_once_one_owns_it(tmp_path, left_behind):
    context = multiprocessing.get_context("fork")
    for attempt in range(8):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        if left_behind:
            plant(folder, pid=2**22 - 1)
        barrier, answers = context.Barrier(6), context.Queue()
        racers = [context.Process(target=_race, args=(barrier, folder, answers)) for _ in range(6)]
        for racer in racers:
            racer.start()
        assert sorted(answers.get(timeout=30) for _ in racers) == ["owner", *["refused"] * 5]
        for racer in racers:
            racer.join()
        assert len(list(folder.iterdir())) == 1


def plant(folder: Path, number: int = 1, **changes: object) -> Path:
    """The file of another owner."""
    owner = dataclasses.replace(Owner.here(), token="other", **changes)
    path = folder / f".owner-{number:05d}.json"
    path.write_text(json.dumps(dataclasses.asdict(owner)))
    return path


def test_it_says_who_owns_it_and_is_free_when_given_back(tmp_path):
    first = RunLock(tmp_path)
    with pytest.raises(UserError, match=f"process {os.getpid()} on ") as refused:
        RunLock(tmp_path)
    assert refused.value.where == str(tmp_path)
    first.release()
    first.release()
    assert list(tmp_path.iterdir()) == []
    RunLock(tmp_path).release()


def test_a_killed_owner_is_taken_over_at_once(tmp_path):
    code = f"import sys, time; from pathlib import Path; from vgrout.run_lock import RunLock; RunLock(Path({str(tmp_path)!r})); print(1, flush=True); time.sleep(99)"  # fmt: skip # noqa: E501
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline()
    with pytest.raises(UserError):
        RunLock(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    RunLock(tmp_path).release()


def test_a_pid_that_was_given_out_again_is_no_owner(tmp_path):
    plant(tmp_path, start="1")
    RunLock(tmp_path).release()


@pytest.mark.parametrize("elsewhere", [{"host": "b"}, {"boot": "b"}, {"namespace": "b"}], ids=str)
@pytest.mark.parametrize("lives", [True, False])
def test_an_owner_that_cannot_be_seen_is_watched(tmp_path, monkeypatch, elsewhere, lives):
    monkeypatch.setattr(run_lock, "WATCH_S", 0.4)
    monkeypatch.setattr(run_lock, "BEAT_S", 0.05)
    path = plant(tmp_path, pid=2**22 - 1, **elsewhere)
    if not lives:
        lock = RunLock(tmp_path)
        assert lock.is_mine() and not path.exists()
        return lock.release()
    beating = RunLock.__new__(RunLock)
    beating.path, beating._end = path, run_lock.threading.Event()
    thread = run_lock.threading.Thread(target=beating._beat, daemon=True)
    thread.start()
    with pytest.raises(UserError, match="one process at a time"):
        RunLock(tmp_path)
    beating._end.set()
    thread.join()


def test_an_owner_that_was_away_for_too_long_notices(tmp_path):
    lock = RunLock(tmp_path)
    plant(tmp_path, number=2)
    assert not lock.is_mine()
    lock.release()
    assert (tmp_path / ".owner-00002.json").is_file()
