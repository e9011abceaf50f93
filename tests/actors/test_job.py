"""The training command under `ray job submit` with token authentication, as the README says."""

import subprocess

import pytest
from ray_nodes import BIN, ray_nodes

from vgrout.rundir import RunDir

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
