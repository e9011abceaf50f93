"""The training command under `ray job submit` with token authentication, as the README says: on one node, and on three."""

import json
import subprocess
import time

import pytest
from ray_nodes import BIN, ray_nodes

from vgrout.run_directory import RunDir

pytestmark = pytest.mark.cluster
SMALL = ["rollout.prompts=2", "rollout.samples=2", "runtime.graders=1"]


def train_words(out, *sets):
    words = ["vgrout", "train", "configs/tiny.toml", "--arm", "vanilla", "--seed", "5", "--out", str(out)]
    return [*words, *(x for s in (*SMALL, *sets) for x in ("--set", s))]


@pytest.mark.engine
def test_train_as_a_submitted_job(tmp_path):
    out = tmp_path / "run"
    with ray_nodes(tmp_path) as nodes:
        done = nodes.job("submit", "--working-dir", ".", "--", *train_words(out, "train.updates=1", "runtime.kv_cache_mib=64"))
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        run = RunDir.open(out)
        assert run.checkpoints() == [0, 1] and (out / "deploy/adapter_model.safetensors").is_file()
        # Without the token nothing gets in.
        stranger = nodes.env | {"HOME": str(tmp_path), "RAY_AUTH_TOKEN": "0" * 64}
        command = [BIN / "ray", "job", "list", "--address", nodes.dashboard]
        refused = subprocess.run(command, env=stranger, capture_output=True, text=True)
        assert refused.returncode != 0 and "token authentication is enabled" in refused.stdout + refused.stderr


@pytest.mark.slow
def test_three_nodes_one_lost_under_way_and_the_export_fetched(tmp_path):
    """Workers on all three nodes; the node of the learner or of the engine is killed while an update is being sampled."""
    out, points = tmp_path / "run", tmp_path / "points"
    points.mkdir()
    (points / "hold-generate-1").touch()
    sets = ["train.updates=3", "train.checkpoint_every=1", "runtime.engine=hf", "runtime.placement=spread", "lora.rank=8"]
    with ray_nodes(tmp_path, workers=2, cpus=2) as nodes:
        variables = json.dumps({"env_vars": {"VGROUT_KILL_POINTS": str(points)}})
        words = ["--submission-id", "three", "--no-wait", "--working-dir", ".", "--runtime-env-json", variables]
        submitted = nodes.job("submit", *words, "--", *train_words(out, *sets))
        assert submitted.returncode == 0, submitted.stdout + submitted.stderr
        wait_until((points / "generate-1").exists, nodes)
        pids = json.loads((points / "generate-1").read_text())
        at = {part: nodes.node_of(pid) for part, pid in pids.items() if part != "driver"}
        assert {node for part, node in at.items() if part.startswith("grader")} == {0, 1, 2}
        assert at["learner"] != at["engine-0"]
        lost = max(at["learner"], at["engine-0"])  # not the head
        nodes.kill(lost)
        (points / "hold-generate-1").unlink()
        wait_until((out / "deploy/vgrout.json").exists, nodes)
        wait_until(lambda: "succeeded" in said(nodes), nodes)
        logs = nodes.job("logs", "three").stdout
        assert "update 3/3" in logs and "died" in logs
        deaths = {row["part"] for row in map(json.loads, (out / "fleet.jsonl").read_text().splitlines())}
        assert deaths >= {part for part, node in at.items() if node == lost}
        run = RunDir.open(out)
        assert [m["update"] for m in run.read("metrics.jsonl")] == [0, 1, 2] and run.checkpoints()[-1] == 3
        fetch = [BIN / "vgrout", "fetch", str(out), str(tmp_path / "here"), "--address", nodes.gcs]
        fetched = subprocess.run(fetch, env=nodes.env, capture_output=True, text=True, timeout=120)
        assert fetched.returncode == 0, fetched.stderr
        elsewhere = [*fetch[:2], str(tmp_path / "none"), str(tmp_path / "b"), *fetch[-2:]]
        nowhere = subprocess.run(elsewhere, env=nodes.env, capture_output=True, text=True, timeout=120)
        assert nowhere.returncode == 2 and "any of 2 nodes" in nowhere.stderr, nowhere.stderr
        name = "deploy/adapter_model.safetensors"
        assert (tmp_path / "here" / name).read_bytes() == (out / name).read_bytes()


def wait_until(there, nodes, patience_s=600):
    """Wait until `there()`, as long as the job has not failed. Every `ray` command costs seconds of a core: few of them."""
    until = time.monotonic() + patience_s
    while not there():
        time.sleep(3)
        assert "failed" not in said(nodes) and time.monotonic() < until, nodes.job("logs", "three").stdout[-4000:]


def said(nodes):
    """What `ray job status` says of the job."""
    status = nodes.job("status", "three")
    return status.stdout + status.stderr
