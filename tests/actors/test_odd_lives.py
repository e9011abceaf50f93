"""Runs on a real Ray under odd circumstances: two at once on one cluster, completions of one token, a closed terminal, a long
temporary folder, updates without a graded rollout while engines go on sampling."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from kills import train as train_and_kill
from ray_nodes import ray_nodes
from tiny_run import TINY, arguments, check_journal

from actors.ray_cluster.grader_worker import GraderWorker
from vgrout.config import load
from vgrout.records import Audit, Reward, Status
from vgrout.run_directory import RunDir

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
HF = ("runtime.engine=hf", "train.updates=3")


def test_two_runs_at_once_on_one_cluster_end_as_each_would_alone(tmp_path):
    """One of them samples single tokens."""
    sets = {"one": (*HF, "rollout.max_new_tokens=1"), "two": HF}
    with ray_nodes(tmp_path, cpus=8) as nodes:
        env = nodes.env | {"RAY_ADDRESS": nodes.gcs, "OMP_WAIT_POLICY": "PASSIVE"}
        command = [sys.executable, "-m", "vgrout_cli.main", "train"]
        both = [
            subprocess.Popen([*command, *arguments(tmp_path / name, *words)], env=env, stderr=subprocess.PIPE, text=True)
            for name, words in sets.items()
        ]
        ends = [(run.communicate(timeout=600)[1], run.returncode) for run in both]
    assert [code for _, code in ends] == [0, 0], ends
    for name, words in sets.items():
        alone = tmp_path / f"{name}-alone"
        code, said = train_and_kill(arguments(alone, *words, "runtime.backend=local"), tmp_path / f"{name}-points", [])
        assert code == 0, said[-3000:]
        assert (tmp_path / name / "train.safetensors").read_bytes() == (alone / "train.safetensors").read_bytes()
    lengths = {len(row["completion_ids"]) for row in RunDir(tmp_path / "one").read("rollouts.jsonl")}
    assert lengths == {1}


def test_a_closed_terminal_leaves_a_run_that_goes_on_and_a_long_tmpdir_stops_nothing(tmp_path):
    out, scratch = tmp_path / "run", tmp_path / ("scratch" * 15)
    scratch.mkdir()
    hang_up = [("generate-1", lambda pids: os.kill(pids["driver"], signal.SIGHUP))]
    code, said = train_and_kill(arguments(out, *HF), tmp_path / "first", hang_up, TMPDIR=str(scratch))
    assert code == 128 + signal.SIGHUP, said[-3000:]
    assert f"--resume {out}" in said
    assert RunDir(out).checkpoints()[-1] > 0
    code, said = train_and_kill(["--resume", str(out)], tmp_path / "second", [], TMPDIR=str(scratch))
    assert code == 0, said[-3000:]
    assert [row["update"] for row in RunDir(out).read("metrics.jsonl")] == [0, 1, 2]


class NoVerdicts(GraderWorker):
    """A grader whose jail fails for the groups 2 to 5."""

    def grade(self, jobs):
        return [
            _failed(job) if 2 <= int(job.rollout_id.split("-")[0]) <= 5 else super(NoVerdicts, self).grade([job])[0]
            for job in jobs
        ]


def _failed(job):
    audit = Audit(
        job.rollout_id, job.problem.id, job.mode, compiles=False, correct=False, channel=False, exploited=False, mechanism="",
        status=Status.INFRA_ERROR, jail="L2", ms=0.0,
    )  # fmt: skip
    return Reward(job.rollout_id, None), audit


def test_an_asynchronous_run_goes_on_over_updates_without_a_verdict(tmp_path, monkeypatch):
    from ray import cloudpickle

    from actors.ray_cluster import workers
    from actors.ray_cluster.part import kind_of
    from actors.training import train

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test
    monkeypatch.setattr(workers, "GRADER_KIND", kind_of(NoVerdicts))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    sets = [*TINY, "runtime.engine=hf", "runtime.mode=async", "train.updates=5", "train.checkpoint_every=1"]
    run = train(load(Path("configs/tiny.toml"), arm="routev", seed=5, sets=sets), tmp_path / "run")
    rows = run.read("metrics.jsonl")
    assert [row["update"] for row in rows] == list(range(5))
    assert sum(row["infra_errors"] for row in rows) == 16
    assert 1 <= sum(row["ungraded_update"] for row in rows) <= 2
    check_journal(run.path, 5, 2)
