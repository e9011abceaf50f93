"""The plan's activation terms against bytes counted on a real forward and backward, and the logits that exist at one time."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from actors.planning.gpu_memory import activation_bytes, layer_bytes_per_token, learner_terms, logit_bytes
from actors.planning.model_shape import shape_of
from bench.memory import SMALL_SETS, LiveBytes, longest_samples, measure, random_base, small
from learner import model as model_file
from learner.density import Density
from learner.lora2r import Lora2r, Policy
from learner.model import collate, load_model, logprobs_GT
from vgrout.config import ModelConfig, load
from vgrout.records import GateLabel


def build(dtype, layers, vocabulary=1024):
    """(config, shape, model, lora, batch) of the small shape at these layers."""
    config = load(Path("configs/qwen3-4b-fast.toml"), arm="routev", sets=[f"model.dtype={dtype}", *SMALL_SETS])
    with random_base(small(layers, vocabulary), dtype, "cpu") as folder:
        model, shape = load_model(ModelConfig(str(folder), dtype), "cpu"), shape_of(str(folder))
    lora = Lora2r(model, config.lora.targets, config.lora.rank, 1)
    return config, shape, model, lora, collate(longest_samples(config, 1)[:1], "cpu")


def kept_and_peak(model, lora, batch):
    """Bytes alive after a forward pass with gradient, and the most alive through its backward, beyond the model's own."""
    counter = LiveBytes()
    for tensor in [*model.parameters(), *model.buffers()]:
        counter.add(tensor)
    own = counter.now
    with counter, lora.policy(Policy.DEPLOY):
        out = model.model(input_ids=batch.ids_GT, use_cache=False).last_hidden_state
        kept = counter.now - own
        out.float().sum().backward()
    return kept, counter.peak - own


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_bytes_that_a_layer_keeps_and_the_peak_beyond(dtype):
    one, two = (kept_and_peak(*build(dtype, layers)[2:]) for layers in (1, 2))
    config, shape, _, _, batch = build(dtype, 2)
    tokens = batch.ids_GT.numel()
    found = (two[0] - one[0]) / tokens
    layer = layer_bytes_per_token(config, shape)
    plain = replace(config, train=replace(config.train, gradient_checkpointing=False))
    planned = activation_bytes(plain, replace(shape, vocabulary=1), tokens)[0]
    print(f"{dtype}: kept per token and layer {found:.0f} B, formula {layer}; peak {two[1]} B, formula {planned}")
    assert 0.9 < found / layer < 1.02  # an upper estimate, and not by much
    assert 0.8 < two[1] / planned < 1.05


@pytest.mark.parametrize(("dtype", "least"), [("float32", 0.88), ("bfloat16", 0.95)])
def test_the_peak_of_an_update_is_the_plans(dtype, least):
    config = load(Path("configs/qwen3-4b-fast.toml"), arm="routev", sets=[*SMALL_SETS, "runtime.learner_gpus=0"])
    with random_base(small(1), dtype, "cpu") as folder:
        config = replace(config, model=ModelConfig(str(folder), dtype))
        plan = sum(term.bytes for term in learner_terms(config, shape_of(str(folder))) if term.name != "runtime")
        ratio = measure(config)["peak"] / plan
    print(f"{dtype}: measured / plan {ratio:.3f}")
    assert least < ratio < 1.02  # an upper estimate, made for bfloat16


LONG_PROMPTS = ["rollout.prompt_limit=512", "rollout.max_new_tokens=16", "rollout.samples=32", "train.micro_tokens=1024"]


@pytest.mark.parametrize("sets", [[], ["train.gradient_checkpointing=false"]])
def test_a_prompts_keys_and_values_are_planned_for_every_rollout(sets):
    """32 short completions behind one long prompt: what attention keeps grows with rollouts times prompt."""
    sets = [*SMALL_SETS, *LONG_PROMPTS, "runtime.learner_gpus=0", *sets]
    config = load(Path("configs/qwen3-4b-fast.toml"), arm="routev", sets=sets)
    with random_base(small(3), "float32", "cpu") as folder:
        config = replace(config, model=ModelConfig(str(folder), "float32"))
        plan = sum(term.bytes for term in learner_terms(config, shape_of(str(folder))) if term.name != "runtime")
        ratio = measure(config, (GateLabel.MID,))["peak"] / plan
    assert 0.85 < ratio < 1.0, ratio


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("sets", [(), ("rollout.temperature=0.7",), ("rollout.top_k=20",), ("rollout.top_p=0.95",)])
def test_bytes_of_a_logit_are_the_plans(dtype, sets):
    config = load(Path("configs/qwen3-4b-fast.toml"), sets=[f"model.dtype={dtype}", "objective.kl=0", *sets])
    kind = getattr(torch, dtype)
    head = torch.nn.Linear(16, 4096, bias=False, dtype=kind).requires_grad_(False)
    hidden_ND, ids_N = torch.randn(256, 16, dtype=kind, requires_grad=True), torch.arange(256)
    counter = LiveBytes()
    counter.add(head.weight)
    own = counter.now
    with counter:
        model_file.token_logprobs(head, hidden_ND, ids_N, Density.of(config.rollout)).sum().backward()
    found = (counter.peak - own) / (256 * 4096)
    assert 0.98 * logit_bytes(config) < found < 1.02 * logit_bytes(config), found


def test_logits_of_a_whole_batch_never_exist(monkeypatch):
    """The widest tensor over the vocabulary has CHUNK_TOKENS rows, forward and backward."""
    monkeypatch.setattr(model_file, "CHUNK_TOKENS", 32)
    config, shape, model, lora, batch = build("bfloat16", 1, vocabulary=4096)
    rows = []

    class Widest(LiveBytes):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor) and out.ndim and out.shape[-1] == shape.vocabulary:
                rows.append(out.numel() // shape.vocabulary)
            return out

    with Widest(), lora.policy(Policy.DEPLOY):
        (-logprobs_GT(model, batch).sum()).backward()
    assert int(batch.completion_GT.sum()) == config.rollout.max_new_tokens == 224
    logits = [n for n in rows if n != shape.hidden]  # not the transposed weight of the head
    assert max(logits) == 32 and len(logits) >= 7 * 2
