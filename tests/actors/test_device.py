"""A booked GPU is used or refused by name; nothing falls back to the CPU in silence."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from actors.engines.vllm import check_heads, check_platform, shared_gpu_cache
from actors.planning.dry_run import make_plan
from actors.ray_cluster.environment import actor_environment
from learner.acceptance import batch_of
from learner.device import device
from learner.learner import Learner
from vgrout import pairs
from vgrout.config import load
from vgrout.errors import UserError
from vgrout.gpu_shares import memory_share

CONFIGS = Path("configs")


def test_the_device_is_the_configured_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device(0.0, "runtime.learner_gpus") == "cpu" and device(0.5, "runtime.learner_gpus") == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"runtime\.learner_gpus: found 0\.5, but torch sees no GPU.*R580"):
        device(0.5, "runtime.learner_gpus")


@pytest.mark.parametrize(
    ("sets", "share"),
    [
        ([], 0.97 - 0.3),
        (["runtime.learner_gpus=1", "runtime.engine_gpus=1"], 0.97),
        (["runtime.engines=2", "runtime.engine_gpus=0.25"], 0.97 - 2 * 0.3),
        (["runtime.engines=5", "runtime.engine_gpus=0.25", "runtime.engine_memory=0.4"], 0.97 - 2 * 0.4),
    ],
)
def test_a_learner_is_held_to_what_engines_on_its_gpu_leave(sets, share):
    assert memory_share(load(CONFIGS / "tiny-gpu.toml", sets=["runtime.engine_memory=0.3", *sets]).runtime) == pytest.approx(
        share
    )


def test_an_engine_that_shares_a_gpu_has_the_cache_of_the_plan(monkeypatch):
    config, gib = load(CONFIGS / "qwen3-4b.toml"), 80
    card = SimpleNamespace(total_memory=gib * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: card)
    assert shared_gpu_cache(config) == make_plan(config, 1, gib).kv_bytes > 20 * 2**30
    card.total_memory = 10**15  # no more than its sequences can fill
    assert shared_gpu_cache(config) == 256 * 2560 * 147_456
    card.total_memory = 28 * 2**30
    with pytest.raises(UserError, match=r"runtime\.engine_memory: found 0\.45, which leaves .*at least 360 MiB, 2560 tokens"):
        shared_gpu_cache(config)


def test_strict_determinism_is_asked_of_torch_cublas_and_vllm():
    """On the CPU the strict mode changes nothing: every operation of an update passes it, with the same bytes."""
    strict = ["runtime.deterministic=true"]
    on_gpu = load(CONFIGS / "tiny-gpu.toml", sets=strict)
    assert actor_environment(on_gpu, "engine")["VLLM_BATCH_INVARIANT"] == "1"
    assert actor_environment(on_gpu, "learner")["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    usual = load(CONFIGS / "tiny-gpu.toml")
    for role in ("engine", "learner"):
        assert not {"VLLM_BATCH_INVARIANT", "CUBLAS_WORKSPACE_CONFIG"} & {*actor_environment(usual, role)}
    authored, digests = pairs.load(CONFIGS / "tiny/pairs.jsonl")[:4], []
    for sets in ([], strict):
        learner = Learner(load(CONFIGS / "tiny.toml", arm="routev", sets=["lora.rank=4", *sets]), authored)
        assert torch.is_deterministic_algorithms_warn_only_enabled() == (not sets)
        learner.update(batch_of(learner.config, 2, 4, 1))
        digests.append(learner.publish().digest)
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert digests[0] == digests[1]


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
    assert changed == {
        ("model", "dtype"),
        *(("runtime", k) for k in ("engine_gpus", "learner_gpus", "engine_memory", "side_by_side")),
    }


@pytest.mark.engine
@pytest.mark.parametrize("width", [32, 40])
def test_a_base_without_a_cpu_kernel_is_refused_before_it_is_loaded(width, tmp_path):
    from transformers import Qwen3Config

    config = Qwen3Config(hidden_size=160, num_attention_heads=4, num_key_value_heads=2, head_dim=width, num_hidden_layers=1)
    config.architectures = ["Qwen3ForCausalLM"]
    config.save_pretrained(tmp_path)
    if width == 32:
        return check_heads(str(tmp_path))
    with pytest.raises(UserError, match="heads of 40; expected one of 32, 64"):
        check_heads(str(tmp_path))
