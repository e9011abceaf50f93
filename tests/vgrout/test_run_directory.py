"""Run directories: claimed by one process, begun again before the first checkpoint, logs that are one run's."""

import multiprocessing
import stat

import pytest

from vgrout.config import load
from vgrout.errors import UserError
from vgrout.files import write_whole
from vgrout.presets import packaged
from vgrout.run_directory import LOGS, RunDir
from vgrout.signals import RunStopped

CONFIG = load(packaged() / "tiny.toml")


def test_truncate_forgets_later_updates_and_torn_lines(tmp_path):
    run = RunDir(tmp_path)
    for log in LOGS:
        run.append(log, [{"update": 0}, {"update": 1}, {"update": 2}])
        with (tmp_path / log).open("a") as file:
            file.write('{"update": 1, "to')
    run.truncate(2)
    for log in LOGS:
        assert run.read(log) == [{"update": 0}, {"update": 1}], log


def _create(barrier, path, seed, answers):
    config = load(packaged() / "tiny.toml", seed=seed)
    barrier.wait()
    try:
        run = RunDir.claim(path, config)
        run.begin(config, {})
        checkpoint(run)
        run.release()
        answers.put("made")
    except UserError:
        answers.put("refused")


def checkpoint(run):
    run.write_checkpoint(0, b"adapter", b"optimizer", {})


def test_of_two_at_once_one_makes_the_run(tmp_path):
    context = multiprocessing.get_context("fork")
    for attempt in range(6):
        barrier, answers = context.Barrier(2), context.Queue()
        pair = [context.Process(target=_create, args=(barrier, tmp_path / str(attempt), seed, answers)) for seed in (1, 2)]
        for process in pair:
            process.start()
        assert sorted(answers.get(timeout=60) for _ in pair) == ["made", "refused"]
        for process in pair:
            process.join()


def test_two_default_folders_of_one_second_differ_and_name_the_seed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = [RunDir.claim(None, CONFIG) for _ in range(3)]
    assert len({run.path for run in runs}) == 3 and all("_seed41_" in run.path.name for run in runs)
    for run in runs:
        run.release()
    assert list((tmp_path / "out/runs").iterdir()) == []  # nothing was begun: nothing is left


def test_a_claim_that_comes_to_nothing_leaves_what_was_there(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("")
    RunDir.claim(tmp_path / "mine", CONFIG).release()
    RunDir.claim(tmp_path / "new" / "deep", CONFIG).release()
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == ["mine", "mine/notes.txt"]


def test_a_run_without_a_checkpoint_can_be_begun_again_and_one_with_cannot(tmp_path):
    run = RunDir.create(tmp_path / "run", CONFIG, {"digests": {}})
    run.append("metrics.jsonl", [{"update": 0}])
    again = RunDir.create(tmp_path / "run", CONFIG, {})
    assert again.read("metrics.jsonl") == []
    checkpoint(again)
    with pytest.raises(UserError, match="an existing run"):
        RunDir.create(tmp_path / "run", CONFIG, {})


@pytest.mark.parametrize("what", ["file", "a folder below a file"])
def test_an_out_that_cannot_be_a_folder_is_refused(tmp_path, what):
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" if what == "file" else tmp_path / "file" / "run"
    with pytest.raises((UserError, NotADirectoryError)):
        RunDir.claim(place, CONFIG)


def test_who_lost_the_folder_writes_no_more(tmp_path):
    run = RunDir.claim(tmp_path / "run", CONFIG)
    run.begin(CONFIG, {})
    (mine,) = run.path.glob(".owner-*.json")
    (run.path / ".owner-00009.json").write_text(mine.read_text().replace('"token": "', '"token": "x'))
    with pytest.raises(RunStopped, match="took over"):
        run.append("metrics.jsonl", [{"update": 0}])
    with pytest.raises(RunStopped, match="took over"):
        checkpoint(run)
    assert run.read("metrics.jsonl") == [] and run.checkpoints() == []


@pytest.mark.parametrize("updates", [[0, 1, 1, 2], [0, 0, 1, 1], [0, 2], [1, 2], [0, 1, 0, 1], [0, None]])
def test_logs_that_are_not_one_runs_are_refused_by_line(tmp_path, updates):
    run = RunDir(tmp_path)
    run.append("metrics.jsonl", [{"update": number} for number in updates])
    with pytest.raises(UserError, match=r"metrics.jsonl:\d, field update"):
        run.metrics()


def test_other_files_among_the_checkpoints_are_not_checkpoints(tmp_path):
    run = RunDir(tmp_path)
    checkpoint(run)
    for name in ("00006.bak", "copy of 00006", "٣"):
        write_whole(tmp_path / "checkpoints" / name / "optimizer.safetensors", b"")
    assert run.checkpoints() == [0]


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_files_have_the_permissions_of_the_umask(tmp_path, umask):
    code = f"import os; os.umask({umask}); from vgrout.files import write_whole; from pathlib import Path; write_whole(Path({str(tmp_path)!r}) / 'f', 'x')"  # fmt: skip # noqa: E501
    import subprocess
    import sys

    subprocess.run([sys.executable, "-c", code], check=True)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o666 & ~umask
