"""The packed, shared-prompt, single-product update against the plain multi-pass one, over random models and batches."""

import copy
from pathlib import Path
from unittest import mock

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_model import TARGETS, VOCABULARY
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from bench.multi_pass import MultiPass
from learner import packed_attention
from learner.ahead import Ahead
from learner.data_parallel import SOLO
from learner.density import Density
from learner.fixed_terms import fixed_terms
from learner.lora2r import Lora2r
from learner.objective import Advantages
from learner.policy_gradient import accumulate_gradients
from vgrout.config import load
from vgrout.records import Author, GateLabel, Sample, Sampling

KINDS = {"qwen3": (Qwen3Config, Qwen3ForCausalLM), "llama": (LlamaConfig, LlamaForCausalLM)}


def random_model(kind, heads, kv_heads, layers, hidden, seed):
    torch.manual_seed(seed)
    config, model = KINDS[kind]
    return model(
        config(
            vocab_size=VOCABULARY, hidden_size=hidden, intermediate_size=2 * hidden, num_hidden_layers=layers,
            num_attention_heads=heads, num_key_value_heads=kv_heads, head_dim=8, initializer_range=0.2,
            pad_token_id=0, bos_token_id=1, eos_token_id=2,
        )
    ).float().eval()  # fmt: skip


def moved(model, rank, seed, *, quarantine):
    lora = Lora2r(model, TARGETS, rank, seed=7)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for m in lora.modules.values():
            for tensor, dim in ((m.a_SI, 0), (m.b_OS, 1)):
                move = 0.05 * torch.randn(tensor.shape, generator=generator)
                if not quarantine:
                    move.narrow(dim, rank, rank).zero_()
                tensor.add_(move)
    return lora


@st.composite
def batches(draw):
    """Groups of 1 to 4 rollouts with their labels, samplers, authors and advantages."""
    ids = st.integers(3, VOCABULARY - 1)
    samples, labels = [], []
    for group in range(draw(st.integers(1, 4))):
        prompt = tuple(draw(st.lists(ids, min_size=1, max_size=9)))
        for i in range(draw(st.integers(1, 4))):
            completion = tuple(draw(st.lists(ids, min_size=1, max_size=11)))
            author = draw(st.sampled_from([Author.STUDENT, Author.STUDENT, Author.TEACHER]))
            logprobs = () if author is Author.TEACHER else tuple(-3.0 - 0.1 * t for t in range(len(completion)))
            sampling = draw(st.sampled_from(list(Sampling)))
            samples.append(Sample(f"{group}-{i}", group, prompt, completion, logprobs, sampling, 0, 0.0, author))
            labels.append(draw(st.sampled_from(list(GateLabel))))
    advantage = [draw(st.floats(-2, 2, width=16)) for _ in samples]
    return samples, labels, torch.tensor(advantage, dtype=torch.float32)


def fast_gradients(model, lora, config, samples, labels, advantage_G, skipped_G=None, share=False):
    """(loss, gradients, cgrad_GMR) of the learner's own passes."""
    skipped_G = torch.zeros(len(samples), dtype=torch.bool) if skipped_G is None else skipped_G
    frozen = Ahead(model, lora, "initial", config.objective.kl > 0, Density.of(config.rollout), config.train.micro_tokens, share)
    base = frozen.take(samples)
    fixed = fixed_terms(model, lora, config, samples, labels, base, SOLO)
    sums = accumulate_gradients(model, lora, config, samples, labels, Advantages(advantage_G, skipped_G), fixed, SOLO)
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in lora.parameters()]
    return sums.loss, gradients, torch.stack([b.cgrad_MR for b in base])


def relative(found, expected):
    """Norm of the difference of two lists of tensors over that of the second."""
    gap = sum((f.double() - e.double()).square().sum() for f, e in zip(found, expected, strict=True))
    return (gap / sum(e.double().square().sum() for e in expected).clamp_min(1e-30)).sqrt().item()


def config_of(kl, temperature, budget, *sets):
    sets = [f"objective.kl={kl}", f"rollout.temperature={temperature}", f"train.micro_tokens={budget}", *sets]
    return load(Path("configs/tiny.toml"), arm="routev", sets=sets)


@pytest.mark.parametrize("ratio", ["sampler", "trained"])
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    batches(), st.sampled_from(list(KINDS)), st.sampled_from([(2, 1), (4, 2), (2, 2)]), st.sampled_from([16, 24]),
    st.integers(1, 2), st.sampled_from([2, 12]), st.integers(0, 99), st.booleans(), st.sampled_from([0.0, 0.2]),
    st.sampled_from([1.0, 0.7]), st.sampled_from([12, 60, 4096]), st.booleans(), st.booleans(), st.sampled_from([0, 10**6]),
)  # fmt: skip
def test_gradients_equal_the_multi_pass_reference(
    ratio, batch, kind, heads, hidden, layers, rank, seed, quarantine, kl, temperature, budget, whole, share, kept
):
    samples, labels, advantage_G = batch
    plain = random_model(kind, *heads, layers, hidden, seed)
    model = copy.deepcopy(plain)
    model.set_attn_implementation(packed_attention.NAME)
    lora = moved(model, rank, seed, quarantine=quarantine)
    other = [] if whole else ["objective.aggregate=tokens", "objective.kl_on=varied"]
    config = config_of(kl, temperature, budget, f"objective.ratio={ratio}", *other)
    skipped_G = advantage_G == 0
    with mock.patch("learner.packing.KEPT_LOGITS", kept):
        loss, gradients, cgrad_GMR = fast_gradients(model, lora, config, samples, labels, advantage_G, skipped_G, share)
    reference = MultiPass(plain, lora.factors(), rank)
    rows, tokens = len(samples) * config.rollout.max_new_tokens, sum(len(s.completion_ids) for s in samples)
    expected_loss, expected = reference.gradients(
        samples, labels, advantage_G, kl=kl, clip=0.2, cap=2.0, temperature=temperature, denominator=rows if whole else tokens,
        trained=ratio == "trained", varied_G=None if whole else ~skipped_G,
    )  # fmt: skip
    assert loss == pytest.approx(expected_loss, rel=1e-4, abs=1e-6)
    if sum(e.abs().sum() for e in expected) > 1e-4:
        assert relative(gradients, expected) <= 1e-5
    assert relative([cgrad_GMR], [reference.cprobe(samples, initial=True, completions=share)]) <= 1e-5


@pytest.mark.parametrize("seed", range(4))
def test_bf16_is_within_the_references_own_error(seed):
    """Both in bf16, against the reference in fp32: the fast path is no further off than the plain one by more than 20%."""
    draw = torch.Generator().manual_seed(seed)

    def ids(low, high):
        return tuple(
            torch.randint(3, VOCABULARY, (int(torch.randint(low, high, (1,), generator=draw)),), generator=draw).tolist()
        )

    samples, labels = [], []
    for group in range(3):
        prompt = ids(3, 9)
        for i in range(4):
            completion = ids(4, 12)
            samples.append(Sample(f"{group}-{i}", group, prompt, completion, (-4.0,) * len(completion), Sampling.TRAIN, 0, 0.0))
            labels.append(list(GateLabel)[(group + i) % 3])
    advantage_G = torch.randn(12, generator=draw)
    exact = random_model("qwen3", 4, 2, 2, 64, seed)
    plain, model = copy.deepcopy(exact).bfloat16(), copy.deepcopy(exact).bfloat16()
    exact = copy.deepcopy(plain).float()
    model.set_attn_implementation(packed_attention.NAME)
    lora = moved(model, 8, seed, quarantine=True)
    config = config_of(0.2, 1.0, 4096)
    loss, gradients, cgrad_GMR = fast_gradients(model, lora, config, samples, labels, advantage_G)
    settings_ = {"kl": 0.2, "clip": 0.2, "cap": 2.0, "temperature": 1.0, "denominator": 12 * config.rollout.max_new_tokens}
    truth, rounded = (MultiPass(m, lora.factors(), 8) for m in (exact, plain))
    true_loss, true = truth.gradients(samples, labels, advantage_G, **settings_)
    _, reference = rounded.gradients(samples, labels, advantage_G, **settings_)
    assert relative(gradients, true) <= 1.2 * relative(reference, true)
    assert loss == pytest.approx(true_loss, rel=0.1)
    true_probe = truth.cprobe(samples, initial=True)
    assert relative([cgrad_GMR], [true_probe]) <= 1.2 * relative([rounded.cprobe(samples, initial=True)], [true_probe])
