"""Two learner actors on a real Ray train a whole run, as one."""

import json
import math

import pytest

from vgrout.config import load
from vgrout.errors import UserError
from vgrout_cli.main import main

SETS = [
    "runtime.engine=hf", "runtime.learners=2", "runtime.graders=1", "rollout.prompts=2", "rollout.samples=4",
    "rollout.max_new_tokens=24", "train.updates=1", "train.checkpoint_every=1", "lora.rank=8",
]  # fmt: skip


@pytest.mark.cluster
def test_two_learners_train_a_run(tmp_path, monkeypatch):
    import ray

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    out = tmp_path / "run"
    try:
        assert main(["train", "configs/tiny.toml", "--arm", "routev", "--out", str(out), *(f"--set={s}" for s in SETS)]) == 0
    finally:
        ray.shutdown()
    (row,) = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    # Rollouts come from the engine that rank 0 published to; both ranks' shares are in the numbers.
    assert row["rollouts"] == 8
    assert math.isfinite(row["loss"])
    assert row["mismatch/max"] < 1e-3
    assert (out / "deploy" / "adapter_model.safetensors").is_file()


def test_several_learners_need_ray():
    from pathlib import Path

    with pytest.raises(UserError, match=r"runtime\.learners"):
        load(Path("configs/tiny.toml"), sets=["runtime.backend=local", "runtime.learners=2"])
