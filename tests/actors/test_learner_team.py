"""Two learner actors on a real Ray train a whole run, as one, and go on as one after the second has died."""

import math
import threading
import time
from pathlib import Path

import psutil
import pytest

from vgrout.config import load
from vgrout.errors import UserError
from vgrout.run_directory import RunDir
from vgrout_cli.main import main

SETS = [
    "runtime.engine=hf", "runtime.learners=2", "runtime.graders=1", "rollout.prompts=2", "rollout.samples=4",
    "rollout.max_new_tokens=24", "train.updates=3", "train.checkpoint_every=1", "lora.rank=8",
]  # fmt: skip


def kill_a_rank_after_an_update(run: Path) -> None:
    """SIGKILL to the learner actor that was started last, which is rank 1."""
    while not (run / "checkpoints").is_dir():
        time.sleep(0.1)
    learners = [p for p in psutil.Process().children(recursive=True) if p.cmdline()[:1] and "LearnerActor" in p.cmdline()[0]]
    while not (run / "metrics.jsonl").is_file():
        time.sleep(0.01)
    max(learners, key=lambda p: p.create_time()).kill()


@pytest.mark.cluster
def test_two_learners_train_a_run(tmp_path, monkeypatch):
    import ray

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    out = tmp_path / "run"
    killer = threading.Thread(target=kill_a_rank_after_an_update, args=(out,), daemon=True)
    killer.start()
    try:
        assert main(["train", "configs/tiny.toml", "--arm", "routev", "--out", str(out), *(f"--set={s}" for s in SETS)]) == 0
    finally:
        ray.shutdown()
    rows, fleet = (RunDir(out).read(name) for name in ("metrics.jsonl", "fleet.jsonl"))
    assert [row["update"] for row in rows] == [0, 1, 2] and [one["part"] for one in fleet] == ["learner"]
    for row in rows:
        # Rollouts come from the engine that rank 0 published to; both ranks' shares are in the numbers.
        assert row["rollouts"] == 8
        assert math.isfinite(row["loss"])
        assert row["mismatch/max"] < 1e-3
    assert (out / "deploy" / "adapter_model.safetensors").is_file()


def test_several_learners_need_ray():
    with pytest.raises(UserError, match=r"runtime\.learners"):
        load(Path("configs/tiny.toml"), sets=["runtime.backend=local", "runtime.learners=2"])
