"""The plan against numbers worked out by hand, against models that torch builds, and what it refuses."""

import json
from pathlib import Path

import pytest

from actors.planning.dry_run import make_plan, render
from actors.planning.gpu_memory import GIB, engine_terms, kv_need, learner_terms
from actors.planning.known_models import KNOWN
from actors.planning.model_shape import measure, shape_of
from actors.planning.run_time import GPUS, card, learner_seconds, passes, step_seconds, update_seconds, wall_seconds
from vgrout.config import PROJECTIONS, load
from vgrout.errors import UserError
from vgrout_cli.main import main

CONFIGS = Path(__file__).parents[2] / "configs"
QWEN3_4B = shape_of("Qwen/Qwen3-4B")
ALONE = ["runtime.learner_gpus=1", "runtime.engine_gpus=1", "runtime.engine_memory=0.9"]


def config(*sets, preset="qwen3-4b", arm=None):
    return load(CONFIGS / f"{preset}.toml", arm=arm, sets=list(sets))


def term(terms, name):
    return next(t.bytes for t in terms if t.name == name)


def test_qwen3_4b_by_hand():
    # per layer: q, o 2560 x 4096; k, v 2560 x 1024; gate, up, down 2560 x 9728; norms 2 x 2560 + 2 x 128
    layer = 2 * 2560 * 4096 + 2 * 2560 * 1024 + 3 * 2560 * 9728 + 2 * 2560 + 2 * 128
    assert QWEN3_4B.parameters == 36 * layer + 151936 * 2560 + 2560 == 4_022_468_096
    # per rank and layer: q, o 6656 each; k, v 3584 each; gate, up, down 12288 each
    assert QWEN3_4B.lora_per_rank(PROJECTIONS) == 36 * 57_344 == 2_064_384  # "2.06 M per rank"
    assert QWEN3_4B.kv_per_token(2) == 2 * 36 * 8 * 128 * 2 == 147_456


def test_terms_of_the_reference_setting_by_hand():
    terms, c = learner_terms(config(), QWEN3_4B), config()
    assert term(terms, "weights") == 2 * 4_022_468_096
    assert term(terms, "adapter") == 2 * 64 * 2_064_384 * 4  # A, B and A0, B0 at rank 2r = 64, fp32
    assert term(terms, "gradients") == 64 * 2_064_384 * 4
    assert term(terms, "optimizer") == 3 * 64 * 2_064_384 * 4
    # kept per layer and token: norms 4 (2 D + Q + K), modules' inputs 2 (2 D + Q + F), bottlenecks 2 x 4 r x 7,
    # the rest 2 (2 Q + 2 K + 3 F)
    layer = 4 * (5120 + 4096 + 1024) + 2 * (5120 + 4096 + 9728) + 2 * 4 * 32 * 7 + 2 * (8192 + 2048 + 29184)
    assert layer == 159_488
    # 14 rollouts of 1024 tokens behind one prompt of 1536 fill a micro-batch; on a GPU each has keys and values for all 32 heads
    copies = 14 * 2 * 2 * (1536 * 4096 + 1024 * (4096 - 1024))
    assert term(terms, "activations") == 16384 * (36 + 2) * 2560 * 2 + 16384 * (layer + 8 * 9728) + copies
    assert term(engine_terms(c, QWEN3_4B), "adapter slots") == 4 * 128 * 2_064_384 * 2
    assert kv_need(c, QWEN3_4B).bytes == 2560 * 147_456
    plan = make_plan(c)
    assert plan.publish_bytes == (128 + 64) * 2_064_384 * 2
    assert plan.sampled_tokens == 256 * 1024
    assert make_plan(config(arm="vanilla_full")).publish_bytes == (128 + 128) * 2_064_384 * 2


def test_the_tiny_shape_is_what_torch_builds_and_lora2r_wraps():
    from transformers import AutoModelForCausalLM

    from learner.export import peft_tensors
    from learner.lora2r import Lora2r

    c = config(preset="tiny")
    shape = shape_of(c.model.path)
    model = AutoModelForCausalLM.from_pretrained(c.model.path)
    assert shape.parameters == sum(p.numel() for p in model.parameters())
    lora = Lora2r(model, c.lora.targets, c.lora.rank, c.seed)
    assert 2 * c.lora.rank * shape.lora_per_rank(c.lora.targets) == sum(p.numel() for p in lora.parameters())
    exported = [peft_tensors(lora.factors(), c.lora.rank, blocks).values() for blocks in (1, 2)]
    assert make_plan(c).publish_bytes == 4 * sum(t.numel() for tensors in exported for t in tensors)


@pytest.mark.parametrize("tied", [True, False])
def test_untied_heads_count_twice(tied):
    from transformers import Qwen3Config, Qwen3ForCausalLM

    made = Qwen3Config(
        vocab_size=97, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, tie_word_embeddings=tied,
    )  # fmt: skip
    shape = measure(made)
    assert shape.parameters == sum(p.numel() for p in Qwen3ForCausalLM(made).parameters())


@pytest.mark.parametrize(("gpus", "sets"), [(1, []), (2, ALONE), (8, [*ALONE, "runtime.engines=7"])])
@pytest.mark.parametrize("gib", [24, 80, 141])
def test_qwen3_4b_on_1_2_and_8_gpus_of_24_80_and_141(gpus, sets, gib, capsys):
    """All nine fit but 24 GB for both: that one is refused, in one message that names the term and the budget."""
    words = ["train", str(CONFIGS / "qwen3-4b.toml"), "--dry-run", "--gpus", str(gpus), "--gpu-memory-gib", str(gib)]
    code = main([*words, *(word for s in sets for word in ("--set", s))])
    printed = capsys.readouterr()
    if (gpus, gib) == (1, 24):
        assert code == 2
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        assert "engine on GPU 0: runtime" in printed.err and "11.46 GiB, with 10.80 of 24 GiB for it" in printed.err
        return
    assert code == 0 and "stay idle" not in printed.out
    plan = make_plan(config(*sets), gpus, gib)
    assert sorted({g for a in plan.actors for g in a.gpus}) == list(range(gpus)) and plan.kv_bytes > 0
    for name in ("weights", "optimizer", "activations", "KV cache:", *(f"GPU {g}: " for g in range(gpus))):
        assert name in printed.out
    learner = sum(t.bytes for t in learner_terms(plan.config, plan.shape))
    here = [a for a in plan.actors if 0 in a.gpus and a.name.startswith("engine")]
    assert learner + len(here) * plan.config.runtime.engine_memory * gib * GIB <= gib * GIB


def test_a_shared_gpu_by_hand():
    # 8.045 GB weights + 6 x 64 ranks of fp32 adapter + 1 GiB + activations, and 0.45 of the card for the engine
    learner = (2 * 4_022_468_096 + 6 * 64 * 2_064_384 * 4 + 2**30 + 16384 * (38 * 2560 * 2 + 237_312) + 528_482_304) / 2**30
    line = f"GPU 0: learner {learner:.2f} + engine 0 36.00 = {learner + 36:.2f} of 80 GiB"
    assert line == "GPU 0: learner 18.53 + engine 0 36.00 = 54.53 of 80 GiB" and line in render(make_plan(config(), 1, 80))


def test_24_gb_shared_by_both_is_refused_however_it_is_split():
    for share in (0.3, 0.5, 0.6, 0.7):
        with pytest.raises(UserError, match=r"plan: (engine|learner) on GPU 0"):
            make_plan(config(f"runtime.engine_memory={share}", "train.micro_tokens=2560"), 1, 24)


def test_the_advice_of_a_refusal_fits():
    sets = [*ALONE, "train.micro_tokens=65536"]
    with pytest.raises(UserError) as error:
        make_plan(config(*sets), 2, 24)
    assert "activations" in error.value.where
    best = int(error.value.expected.split("at most ")[1].split(",")[0])
    assert best >= 2560
    make_plan(config(*ALONE, f"train.micro_tokens={best}"), 2, 24)
    with pytest.raises(UserError):
        make_plan(config(*ALONE, f"train.micro_tokens={best + 256}"), 2, 24)


def test_without_checkpointing_the_advice_is_checkpointing():
    with pytest.raises(UserError, match="gradient_checkpointing = true"):
        make_plan(config("train.gradient_checkpointing=false"), 1, 80)


def test_too_few_gpus_and_idle_gpus():
    with pytest.raises(UserError, match="no room for engine 1"):
        make_plan(config(*ALONE, "runtime.engines=2"), 2, 80)
    assert any("7 of 8 GPUs stay idle" in note for note in make_plan(config(), 8, 80).notes)


def test_a_tensor_parallel_engine_by_hand():
    c = config(*ALONE, "runtime.engine_tp=2", "runtime.engines=3")
    plan = make_plan(c, 7, 24)
    assert [a.gpus for a in plan.actors] == [(0,), (1, 2), (3, 4), (5, 6)]
    terms = engine_terms(c, QWEN3_4B)
    assert term(terms, "weights") == 4_022_468_096
    # q, k, v, gate, up have A whole and half of B; o and down half of A and B whole
    split = (2560 + 2048) + 2 * (2560 + 512) + (2048 + 2560) + 2 * (2560 + 4864) + (4864 + 2560)
    assert term(terms, "adapter slots") == 4 * 128 * 36 * split * 2
    assert kv_need(c, QWEN3_4B).bytes == 2560 * 147_456 // 2
    assert "per GPU of an engine (1 of 2)" in render(plan)
    with pytest.raises(UserError, match="no room for engine 2"):
        make_plan(c, 6, 24)
    with pytest.raises(UserError, match="32 attention heads"):
        make_plan(config(*ALONE, "runtime.engine_tp=3"), 4, 80)


def test_sizes_of_published_models():
    """Parameter counts as their makers give them; KV bytes per token and LoRA parameters per rank by hand."""
    counts = {name: shape_of(name).parameters for name in KNOWN}
    assert counts["meta-llama/Llama-3.1-8B"] == 8_030_261_248
    assert counts["HuggingFaceTB/SmolLM2-135M"] == 134_515_008
    assert counts["Qwen/Qwen3-1.7B"] == 1_720_574_976
    llama = shape_of("meta-llama/Llama-3.1-8B")
    assert llama.kv_per_token(2) == 2 * 32 * 8 * 128 * 2
    assert llama.lora_per_rank(PROJECTIONS) == 32 * (2 * 8192 + 2 * 5120 + 3 * 18432)
    assert llama.active == llama.parameters - 128256 * 4096  # an untied embedding is looked up, not multiplied


MADE = {
    "llama": {}, "qwen2": {}, "qwen3": {"head_dim": 16}, "mistral": {}, "gemma2": {"head_dim": 16},
    "gemma3_text": {"head_dim": 16}, "olmo2": {}, "phi3": {"pad_token_id": 0}, "granite": {}, "cohere": {},
    "smollm3": {"pad_token_id": 0}, "starcoder2": {}, "gpt_neox": {},
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "head_dim": 16},
}  # fmt: skip


@pytest.mark.parametrize("kind", MADE)
def test_any_architecture_that_transformers_builds_has_a_shape(kind, tmp_path):
    from transformers import AutoConfig, AutoModelForCausalLM

    made = AutoConfig.for_model(
        kind, vocab_size=97, hidden_size=64, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, **MADE[kind],
    )  # fmt: skip
    made.save_pretrained(tmp_path)
    shape, model = shape_of(str(tmp_path)), AutoModelForCausalLM.from_config(made)
    assert shape.parameters == sum(p.numel() for p in model.parameters())
    assert (shape.layers, shape.hidden, shape.vocabulary) == (2, 64, 97)
    if kind not in ("gpt_neox", "phi3", "starcoder2"):
        assert shape.mlp == (48 if kind == "qwen3_moe" else 80) and shape.mlp_kept == 3 * shape.mlp
    names = {"phi3": ("qkv_proj",), "gpt_neox": ("query_key_value",)}.get(kind, ("q_proj",))
    make_plan(config(f"model.path={tmp_path}", f"lora.targets={json.dumps(names)}", "lora.rank=4"), 1, 80)
    with pytest.raises(UserError, match=r"no_such_proj.*Linear modules of the model"):
        make_plan(config(f"model.path={tmp_path}", 'lora.targets=["no_such_proj"]'), 1, 80)


def test_attention_sinks_are_refused(tmp_path):
    from transformers import GptOssConfig

    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    GptOssConfig(vocab_size=64, num_hidden_layers=2, num_local_experts=2, **sizes).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"found attention sinks \(gpt_oss\); expected an architecture without them"):
        shape_of(str(tmp_path))


def test_other_models_need_a_config_json(tmp_path):
    with pytest.raises(UserError, match=r"model.path.*none downloaded.*Qwen/Qwen3-4B"):
        shape_of("some/other-model")
    for text, match in (
        ("{", "invalid JSON"),
        ("[]", "model_type"),
        ('{"model_type": "no-such"}', "no-such"),
        ('{"model_type": "clip"}', "causal"),
    ):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(UserError, match=match):
            shape_of(str(tmp_path))


SIZES = ("Qwen/Qwen3-4B", "Qwen/Qwen3-1.7B", "HuggingFaceTB/SmolLM2-135M", "meta-llama/Llama-3.1-8B")


@pytest.mark.parametrize("model", SIZES)
@pytest.mark.parametrize(("gpus", "sets"), [(1, []), (2, ALONE), (8, [*ALONE, "runtime.engines=7"])])
@pytest.mark.parametrize("gib", [24, 80, 141])
def test_every_model_on_every_size_is_planned_or_refused_with_the_term(model, gpus, sets, gib):
    sets = [*sets, f"model.path={model}"]
    if gib == 24 and (gpus == 1 or "8B" in model) and "135M" not in model:
        if "1.7B" in model:
            make_plan(config(*sets), gpus, gib)
            return
        with pytest.raises(UserError, match=r"plan: (engine|learner) on GPU \d+: .* GiB for it"):
            make_plan(config(*sets), gpus, gib)
        return
    text = render(make_plan(config(*sets), gpus, gib))
    assert f"peak rates of one {card(gib).name}" in text and "time per run: 200 updates" in text


def test_time_of_an_update_by_hand():
    """A forward of one 2560-token rollout: 2 FLOP a parameter and token (the head at 1024 of them), causal attention at half."""
    c, gpu = config(), GPUS[3]
    linear, head, pair = 2 * (4_022_468_096 - 151936 * 2560), 1024 * 2 * 151936 * 2560, 4 * 32 * 128 * 36
    whole = 2560 * linear + 2560 * 2560 / 2 * pair  # with its prompt, as the c-probe has every rollout
    adapter = 4 * 32 * 2_064_384
    probe, weights, update = learner_seconds(c, QWEN3_4B, gpu, 1536, 1024)
    base, narrow = 989e12 * 0.35, 989e12 * 0.15
    assert probe.name == "base: c-probe, KL reference"  # one pass, the head once more at the sampling temperature
    assert probe.seconds == pytest.approx((3 * whole + 4 * head) / base + 0.75 * 2560 * adapter / narrow)
    # 14 completions of 1024 fit 16384 tokens beside their prompt: a group of 16 has 2 micro-batches, or 4 where its labels differ
    own = 1024 * linear + (1024 * 1536 + 1024 * 1024 / 2) * pair
    shared = own + 4 / 16 * (1536 * linear + 1536 * 1536 / 2 * pair)
    assert weights.seconds == pytest.approx((shared + head) / base + 2 * (1024 + 384) * adapter / narrow)
    assert update.seconds == pytest.approx((3 * shared + 3 * head) / base + 7 * (1024 + 384) * adapter / narrow)
    # one sequence: all weights and one policy's adapter are read, and the sequence's keys and values
    read = 2 * 4_022_468_096 + 128 * 2_064_384 * 2 + 2048 * 147_456
    assert step_seconds(c, QWEN3_4B, gpu, 1, 2048) == pytest.approx(0.004 + read / (3.35e12 * 0.6))


@pytest.mark.parametrize(
    ("arm", "sets", "names"),
    [
        ("routev", [], ["base: c-probe, KL reference", "importance weights, at most", "update, forward and backward"]),
        ("vanilla", [], ["base: KL reference", "update, forward and backward"]),
        ("vanilla", ["objective.kl=0", "objective.epochs=2"], ["update, forward and backward x 2"]),
        ("routev", ["gate.probe_policy=current"], [
            "c-probe, deployed block", "base: KL reference", "importance weights, at most", "update, forward and backward",
        ]),
    ],
)  # fmt: skip
def test_the_passes_are_those_that_the_learner_makes(arm, sets, names):
    assert [one.name for one in passes(config(*sets, arm=arm))] == names


def test_asynchronous_runs_wait_for_the_longer_half():
    parts = update_seconds(config(), QWEN3_4B, GPUS[3], 10**9)
    total = wall_seconds(config(), parts)
    assert total == pytest.approx(sum(p.seconds for p in parts))
    longer = wall_seconds(config("runtime.mode=async"), parts)
    assert max(p.seconds for p in parts) < longer < total


def test_the_simulators_times_are_the_plans():
    """configs/simulate/cluster-size.toml states what `actors.planning.run_time` says of an H100, within a tenth."""
    import tomllib

    said = tomllib.loads((CONFIGS / "simulate/cluster-size.toml").read_text())
    c, gpu, length = config(), GPUS[3], 1000 + said["lengths"]["median"]  # prompt and completion in tokens
    one, many = (step_seconds(c, QWEN3_4B, gpu, n, length) for n in (1, 101))
    token = sum(s.seconds for s in learner_seconds(c, QWEN3_4B, gpu, 1000, said["lengths"]["median"])) / said["lengths"]["median"]
    parts = {p.name: p.seconds for p in update_seconds(c, QWEN3_4B, gpu, make_plan(c).publish_bytes)}
    derived = {
        ("engine", "step_ms"): 1e3 * one, ("engine", "sequence_ms"): 10 * (many - one), ("engine", "load_s"): parts["load"],
        ("learner", "token_us"): 1e6 * token, ("learner", "publish_s"): parts["publish"],
    }  # fmt: skip
    found = {key: said[key[0]][key[1]] for key in derived}
    assert found == pytest.approx(derived, rel=0.1)


def test_the_command_prints_or_exits_2(capsys):
    preset = str(CONFIGS / "qwen3-4b-fast.toml")
    assert main(["train", preset, "--dry-run", "--gpus", "1", "--gpu-memory-gib", "80"]) == 0
    assert "8 prompts x 8 = 64 rollouts" in capsys.readouterr().out
    assert main(["train", preset, "--dry-run", "--gpus", "1", "--gpu-memory-gib", "24"]) == 2
    assert main(["train", preset, "--gpus", "1"]) == 2


def test_the_two_presets_differ_in_the_group_sizes_only():
    paper, fast = config().to_dict(), config(preset="qwen3-4b-fast").to_dict()
    changed = {(s, k) for s in paper if isinstance(paper[s], dict) for k in paper[s] if paper[s][k] != fast[s][k]}
    assert changed == {("rollout", "prompts"), ("rollout", "samples"), ("runtime", "max_num_seqs")}
