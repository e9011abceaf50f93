"""Trackers get every number of every line; one that is missing is named before the run, one that fails never ends it."""

import math
from contextlib import contextmanager
from pathlib import Path

import pytest

from actors import sinks
from vgrout.config import load
from vgrout.run_directory import RunDir
from vgrout_cli.main import main

LINES = [
    {"update": i, "loss": i / 2, "kl/reference": 0.5**i, "per_mode": {"all": {"hack": i}}, "reward/mean": math.nan}
    for i in range(3)
]


@pytest.fixture
def run(tmp_path):
    return RunDir.create(tmp_path / "run", load(Path("configs/tiny.toml"), arm="vanilla", seed=1), {})


def logged(run: RunDir, *names: str) -> None:
    with sinks.trackers(run, names):
        for line in LINES:
            for listen in run.listeners:
                listen(line)
    assert not run.listeners


def test_numbers_of_a_line():
    row = {"update": 1, "a": True, "b": None, "c": "text", "d": {"x": 2, "y": {"z": 0.5}}, "e": math.inf}
    assert sinks.numbers(row) == {"update": 1, "a": 1, "d/x": 2, "d/y/z": 0.5}


def test_a_tracker_that_fails_is_named_once_and_the_others_get_every_line(run, monkeypatch, capsys):
    got = []

    @contextmanager
    def good(_run):
        yield lambda update, numbers: got.append((update, numbers["loss"]))

    @contextmanager
    def never_opens(_run):
        raise ConnectionError("no network")
        yield

    @contextmanager
    def breaks(_run):
        yield lambda update, _numbers: 1 / update

    monkeypatch.setattr(sinks, "SINKS", {"good": good, "never_opens": never_opens, "breaks": breaks})
    logged(run, "never_opens", "breaks", "good")
    assert got == [(line["update"], line["loss"]) for line in LINES]
    said = capsys.readouterr().err
    assert said.count("--log never_opens failed") == said.count("--log breaks failed") == 1 and "good" not in said


def test_a_tracker_that_hangs_is_left_behind(run, monkeypatch, capsys):
    import threading

    release = threading.Event()

    @contextmanager
    def hangs(_run):
        release.wait()
        yield lambda *_: None

    monkeypatch.setattr(sinks, "SINKS", {"hangs": hangs})
    monkeypatch.setattr(sinks, "CLOSE_S", 0.05)
    logged(run, "hangs")
    release.set()
    assert "--log hangs failed" in capsys.readouterr().err


def test_a_tracker_that_is_not_installed_is_told_before_anything_starts(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert main(["train", "tiny", "--out", str(tmp_path / "run"), "--log", "wandb"]) == 2
    assert "pip install wandb" in capsys.readouterr().err and not (tmp_path / "run").exists()
    assert sinks.chosen(None) == [] and not capsys.readouterr().err
    assert sinks.chosen(["none"]) == []


def test_tensorboard_files_hold_the_numbers(run):
    pytest.importorskip("tensorboard", reason="the optional package tensorboard is not installed (pip install vgrout[log])")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logged(run, "tensorboard")
    read = EventAccumulator(str(run.path / "tensorboard"))
    read.Reload()
    assert [(s.step, s.value) for s in read.Scalars("loss")] == [(0, 0.0), (1, 0.5), (2, 1.0)]
    assert [s.value for s in read.Scalars("per_mode/all/hack")] == [0, 1, 2]
    assert "reward/mean" not in read.Tags()["scalars"]


def test_wandb_offline_keeps_a_run(run, monkeypatch, capsys):
    pytest.importorskip("wandb", reason="the optional package wandb is not installed (pip install vgrout[log])")
    monkeypatch.setenv("WANDB_MODE", "offline")
    logged(run, "wandb")
    assert list((run.path / "wandb").glob("offline-run-*/*.wandb")) and "failed" not in capsys.readouterr().err


def test_mlflow_keeps_a_run_in_a_local_store(run, tmp_path, monkeypatch, capsys):
    mlflow = pytest.importorskip("mlflow", reason="the optional package mlflow is not installed (pip install vgrout[log])")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    logged(run, "mlflow")
    assert "failed" not in capsys.readouterr().err
    client = mlflow.MlflowClient((tmp_path / "mlruns").as_uri())
    (found,) = client.search_runs([client.get_experiment_by_name("vgrout").experiment_id])
    assert [m.value for m in client.get_metric_history(found.info.run_id, "kl/reference")] == [1.0, 0.5, 0.25]
    assert found.data.params["arm"] == "vanilla"


def test_trackio_keeps_a_run_on_this_machine(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio", reason="the optional package trackio is not installed (pip install vgrout[log])")
    logged(run, "trackio")
    assert list((tmp_path / "trackio").glob("*.db")) and "failed" not in capsys.readouterr().err
