"""An update without a graded rollout: it is counted, it changes nothing, and the run goes on and can be resumed."""

from pathlib import Path

import pytest
from safetensors import safe_open

from actors.training import train
from sandbox.grading.grader import Grader
from vgrout.config import load
from vgrout.records import Audit, Reward, Status

SETS = [
    "train.updates=3", "train.checkpoint_every=1", "rollout.prompts=2", "rollout.samples=2", "rollout.max_new_tokens=16",
    "lora.rank=4", "optim.warmup=1", "runtime.engine=hf", "runtime.backend=local", "runtime.graders=1",
    "runtime.learner_threads=1",
]  # fmt: skip
GRADED = {0: True, 1: False, 2: True}  # by update


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Three updates; every grading of the second one ends in an infrastructure error, which nothing repairs."""
    honest, seen = Grader.grade, []

    def grade(self, job):
        seen.append(job.rollout_id)
        if GRADED[(len(set(seen)) - 1) // 4]:
            return honest(self, job)
        audit = Audit(
            job.rollout_id, job.problem.id, job.mode, compiles=False, correct=False, channel=False, exploited=False, mechanism="",
            status=Status.INFRA_ERROR, jail="L2", ms=0.0,
        )  # fmt: skip
        return Reward(job.rollout_id, None), audit

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Grader, "grade", grade)
        config = load(Path("configs/tiny.toml"), arm="routev", seed=5, sets=SETS)
        yield train(config, tmp_path_factory.mktemp("nothing") / "run")


def weights(run, version):
    with safe_open(run.checkpoint(version) / "train.safetensors", "np") as file:
        return {name: file.get_tensor(name).tobytes() for name in file.keys()}  # noqa: SIM118


def test_it_is_counted_and_no_weight_moves(run):
    rows = run.read("metrics.jsonl")
    assert [row["update"] for row in rows] == [0, 1, 2]
    assert [row.get("ungraded_update", 0) for row in rows] == [0, 1, 0]
    assert rows[1]["infra_errors"] == 4
    assert rows[1]["grad_norm/total"] == 0
    assert weights(run, 1) == weights(run, 2)
    assert weights(run, 2) != weights(run, 3)


def test_its_rollouts_are_written_without_score_or_label(run):
    rows = [row for row in run.read("rollouts.jsonl") if row["update"] == 1]
    assert len(rows) == 4
    assert {(row["reward"], row["label"], row["score"]) for row in rows} == {(None, None, None)}
