"""Every shipped arm and preset that changes what is sampled, probed or stepped runs, and does what it says."""

import pytest

from vgrout.config import load

pytestmark = [pytest.mark.engine]
SETS = [
    "runtime.backend=local", "runtime.mode=sync", "runtime.engine=hf", "runtime.graders=1", "rollout.prompts=2",
    "rollout.samples=4", "rollout.max_new_tokens=24", "train.updates=2", "train.checkpoint_every=2", "lora.rank=8",
]  # fmt: skip

MOVES = ["rollout.max_new_tokens=64", "optim.lr=0.03", "optim.warmup=1"]  # enough for v_grad to move in one update


@pytest.mark.parametrize(
    ("preset", "arm", "sets"),
    [
        ("tiny", "routev_quantile", []),
        ("tiny", "routev_current", ["gate.refresh_every=1", "rollout.prompts=4", "rollout.samples=8", *MOVES]),
        ("tiny", "routev_deploy_half", []),
        ("tiny-teacher", "routev", ["teacher.until=1", "rollout.max_new_tokens=64", "rollout.hint_free_share=0.5"]),
        ("tiny-async", "routev", []),
    ],
)
def test_a_shipped_variant_trains(preset, arm, sets, tmp_path):
    from actors.training import train

    run = train(load(preset, arm=arm, seed=3, sets=[*SETS, *sets]), tmp_path / "run")
    metrics, rollouts = run.read("metrics.jsonl"), run.read("rollouts.jsonl")
    assert len(metrics) == 2 and run.checkpoints() == [0, 2]
    bands = [m["gate/band_lower"] for m in metrics]
    if arm == "routev_quantile":
        assert bands[0] != bands[1] and bands[0] < 0.05
    if arm == "routev_current":
        assert metrics[0]["gate/v_overlap"] == 1.0 and metrics[1]["gate/v_overlap"] != 1.0
    teachers = [r["update"] for r in rollouts if r.get("author") == "teacher"]
    deployed = sum(r["sampling"] == "deploy" for r in rollouts)
    assert deployed == (len(rollouts) / 2 if arm == "routev_deploy_half" else len(rollouts) - len(teachers))
    assert set(teachers) == ({0} if preset == "tiny-teacher" else set())
    assert (metrics[0]["clip_fraction"] is not None) and run.config().objective.epochs == (2 if preset == "tiny-async" else 1)


@pytest.mark.cluster
def test_labels_that_are_given_reach_a_learner_of_ray(tmp_path):
    """A relaxed gate labels by the audits, with the same bytes in one process and in Ray's actors."""
    from actors.training import train

    ends = []
    for backend in ("local", "ray"):
        sets = [*SETS, "rollout.max_new_tokens=64", f"runtime.backend={backend}"]
        run = train(load("tiny", arm="oracle_gate", seed=3, sets=sets), tmp_path / backend)
        hacks = {row["rollout_id"]: row["exploited"] for row in run.read("audits.jsonl")}
        assert {row["id"]: row["label"] == "hack" for row in run.read("rollouts.jsonl")} == hacks
        ends.append((run.path / "train.safetensors").read_bytes())
    assert ends[0] == ends[1]
