"""A booked GPU is used or refused by name; nothing falls back to the CPU in silence."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from actors.engines.vllm import check_platform
from actors.ray_cluster.environment import actor_environment
from learner.device import device
from vgrout.config import load
from vgrout.errors import UserError

CONFIGS = Path("configs")


def test_the_device_is_the_configured_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device(0.0, "runtime.learner_gpus") == "cpu" and device(0.5, "runtime.learner_gpus") == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"runtime\.learner_gpus: found 0\.5, but torch sees no GPU.*R580"):
        device(0.5, "runtime.learner_gpus")


@pytest.mark.parametrize("role", ["learner", "engine", "grader"])
def test_an_actor_that_booked_no_gpu_sees_none(role):
    on_cpu, on_gpu = load(CONFIGS / "tiny.toml"), load(CONFIGS / "tiny-gpu.toml")
    assert actor_environment(on_cpu, role)["CUDA_VISIBLE_DEVICES"] == ""
    assert ("CUDA_VISIBLE_DEVICES" in actor_environment(on_gpu, role)) == (role == "grader")


def test_vllms_build_must_be_that_of_the_configured_device():
    on_cpu, on_gpu = load(CONFIGS / "tiny.toml"), load(CONFIGS / "tiny-gpu.toml")
    check_platform(on_cpu, cpu=True)
    check_platform(on_gpu, cpu=False)
    for config, cpu, match in ((on_gpu, True, "CPU build"), (on_cpu, False, "CUDA build")):
        with pytest.raises(UserError, match=match):
            check_platform(config, cpu)
    with pytest.raises(UserError, match=r"float32 with vLLM on a GPU.*bfloat16"):
        check_platform(replace(on_gpu, model=replace(on_gpu.model, dtype="float32")), cpu=False)


def test_the_gpu_preset_differs_in_precision_and_devices_only():
    cpu, gpu = load(CONFIGS / "tiny.toml").to_dict(), load(CONFIGS / "tiny-gpu.toml").to_dict()
    changed = {(s, k) for s in cpu if isinstance(cpu[s], dict) for k in cpu[s] if cpu[s][k] != gpu[s][k]}
    assert changed == {("model", "dtype"), *(("runtime", k) for k in ("engine_gpus", "learner_gpus", "engine_memory"))}
