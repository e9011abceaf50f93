"""The plan against numbers worked out by hand, against models that torch builds, and what it refuses."""

import json
from pathlib import Path

import pytest

from actors.planning.dry_run import make_plan, render
from actors.planning.gpu_memory import GIB, engine_terms, kv_need, learner_terms
from actors.planning.model_shape import QWEN3_4B, parse_shape, shape_of
from vgrout.config import PROJECTIONS, load
from vgrout.errors import UserError
from vgrout_cli.main import main

CONFIGS = Path(__file__).parents[2] / "configs"
ALONE = ["runtime.learner_gpus=1", "runtime.engine_gpus=1", "runtime.engine_memory=0.9"]


def config(*sets, preset="qwen3-4b", arm=None):
    return load(CONFIGS / f"{preset}.toml", arm=arm, sets=list(sets))


def term(terms, name):
    return next(t.bytes for t in terms if t.name == name)


def test_qwen3_4b_by_hand():
    # per layer: q, o 2560 x 4096; k, v 2560 x 1024; gate, up, down 2560 x 9728; norms 2 x 2560 + 2 x 128
    layer = 2 * 2560 * 4096 + 2 * 2560 * 1024 + 3 * 2560 * 9728 + 2 * 2560 + 2 * 128
    assert QWEN3_4B.parameters() == 36 * layer + 151936 * 2560 + 2560 == 4_022_468_096
    # per rank and layer: q, o 6656 each; k, v 3584 each; gate, up, down 12288 each
    assert QWEN3_4B.lora_per_rank(PROJECTIONS) == 36 * 57_344 == 2_064_384  # "2.06 M per rank"
    assert QWEN3_4B.kv_per_token(2) == 2 * 36 * 8 * 128 * 2 == 147_456


def test_terms_of_the_reference_setting_by_hand():
    terms, c = learner_terms(config(), QWEN3_4B), config()
    assert term(terms, "weights") == 2 * 4_022_468_096
    assert term(terms, "adapter") == 2 * 64 * 2_064_384 * 4  # A, B and A0, B0 at rank 2r = 64, fp32
    assert term(terms, "gradients") == 64 * 2_064_384 * 4
    assert term(terms, "optimizer") == 3 * 64 * 2_064_384 * 4
    # kept per layer and token: norms 4 (2 D + Q + K), casts 4 (5 D + Q + F), bottlenecks 16 r x 7, the rest 2 (2 Q + 2 K + 3 F)
    layer = 4 * (5120 + 4096 + 1024) + 4 * (12800 + 4096 + 9728) + 16 * 32 * 7 + 2 * (8192 + 2048 + 29184)
    assert layer == 229_888
    assert term(terms, "activations") == 16384 * (36 + 2) * 2560 * 2 + 16384 * (layer + 10 * 9728)
    assert term(engine_terms(c, QWEN3_4B), "adapter slots") == 4 * 128 * 2_064_384 * 2
    assert kv_need(c, QWEN3_4B).bytes == 2560 * 147_456
    plan = make_plan(c)
    assert plan.publish_bytes == (128 + 64) * 2_064_384 * 4
    assert plan.sampled_tokens == 256 * 1024
    assert make_plan(config(arm="vanilla_full")).publish_bytes == (128 + 128) * 2_064_384 * 4


def test_the_tiny_shape_is_what_torch_builds_and_lora2r_wraps():
    from transformers import AutoModelForCausalLM

    from learner.export import peft_tensors
    from learner.lora2r import Lora2r

    c = config(preset="tiny")
    shape = shape_of(c.model.path)
    model = AutoModelForCausalLM.from_pretrained(c.model.path)
    assert shape.parameters() == sum(p.numel() for p in model.parameters())
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
    shape = parse_shape(made.to_dict(), "made")
    assert shape.parameters() == sum(p.numel() for p in Qwen3ForCausalLM(made).parameters())


@pytest.mark.parametrize(("gpus", "sets"), [(1, []), (2, ALONE), (8, [*ALONE, "runtime.engines=7"])])
@pytest.mark.parametrize("gib", [24, 80, 141])
def test_qwen3_4b_on_1_2_and_8_gpus_of_24_80_and_141(gpus, sets, gib, capsys):
    """All nine fit but 24 GB for both: that one is refused, in one message that names the term and the budget."""
    words = ["train", str(CONFIGS / "qwen3-4b.toml"), "--dry-run", "--gpus", str(gpus), "--gpu-memory-gib", str(gib)]
    code = main([*words, *(word for s in sets for word in ("--set", s))])
    printed = capsys.readouterr()
    if (gpus, gib) == (1, 24):
        assert code == 2 and printed.out == "" and printed.err.count("\n") == 1
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
    learner = (2 * 4_022_468_096 + 6 * 64 * 2_064_384 * 4 + 2**30 + 16384 * (38 * 2560 * 2 + 327_168)) / 2**30
    line = f"GPU 0: learner {learner:.2f} + engine 0 36.00 = {learner + 36:.2f} of 80 GiB"
    assert line == "GPU 0: learner 19.41 + engine 0 36.00 = 55.41 of 80 GiB" and line in render(make_plan(config(), 1, 80))


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


def test_other_models_need_a_config_json(tmp_path):
    with pytest.raises(UserError, match=r"model.path.*built-in shape"):
        shape_of("some/other-model")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(UserError, match="model_type"):
        shape_of(str(tmp_path))


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
