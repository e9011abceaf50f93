"""The real vLLM engine against the learner and against transformers with PEFT, through hot swaps."""

import dataclasses
import math

import pytest
import torch

from actors.engines.adapter_check import AdapterRejected
from learner.density import Density
from learner.lora2r import Policy
from learner.model import collate, gather, logprobs_GT
from learner.packing import logprobs_C, pack
from learner.tokenizer import encode_prompt
from vgrout import pairs
from vgrout.records import FinishReason, Mode, SampleRequest, Sampling

pytestmark = pytest.mark.engine
POLICY = {Sampling.TRAIN: Policy.TRAIN, Sampling.DEPLOY: Policy.DEPLOY}


def move(learner, seed: int, size: float = 0.03) -> None:
    """A random step of both blocks, and the version that comes with it."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in learner.lora.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator))
    learner.version += 1


def requests(learner, config, *, temperature=1.0, count=4, samplings=tuple(Sampling), prompts=3):
    from pathlib import Path

    found = pairs.load(Path(config.data.pairs))
    return [
        SampleRequest(
            group=g,
            first=0,
            problem_id=g,
            mode=Mode.SENTINEL,
            prompt_ids=encode_prompt(learner.tokenizer, found[g].messages),
            sampling=sampling,
            seeds=tuple(range(100 * g, 100 * g + count)),
            temperature=temperature,
            max_new_tokens=24,
        )
        for g in range(prompts)
        for sampling in samplings
    ]


def learner_logprobs(learner, rollouts, temperature=1.0):
    """Learner's log-probabilities of each rollout's tokens under the policy that it claims."""
    out = []
    for r in rollouts:
        batch = collate([r], "cpu")
        with torch.no_grad(), learner.lora.policy(POLICY[r.sampling]):
            out += gather(batch, logprobs_GT(learner.model, batch, temperature))
    return out


def largest_gap(learner, rollouts, temperature=1.0):
    expected = learner_logprobs(learner, rollouts, temperature)
    return max((torch.tensor(r.logprobs) - e).abs().max().item() for r, e in zip(rollouts, expected, strict=True))


def test_sampled_logprobs_equal_the_learners_with_both_adapters_in_one_batch(engine, learner, config, capsys):
    move(learner, 1)
    engine.load(learner.publish())
    rollouts = engine.generate(requests(learner, config))
    gap = largest_gap(learner, rollouts)
    with capsys.disabled():
        print(f"\nengine against learner, sampled-token logprobs, fp32: max abs difference {gap:.2e}")
    assert gap <= 1e-3
    assert {r.sampling for r in rollouts} == set(Sampling)


def test_logprobs_are_those_of_the_scaled_distribution(engine, learner, config):
    hot = [dataclasses.replace(r, temperature=0.7) for r in requests(learner, config, prompts=2)]
    assert largest_gap(learner, engine.generate(hot), temperature=0.7) <= 1e-3


def test_logprobs_are_those_of_the_truncated_distribution(engine, learner, config):
    """Of vLLM and of transformers, as the learner computes them; and other tokens are never sampled."""
    from actors.engines.hf import HfEngine

    hf, density = HfEngine(config, learner.canary_ids()), Density(2.0, 3, 0.8)
    published = learner.publish()
    cut = {"temperature": density.temperature, "top_k": density.top_k, "top_p": density.top_p}
    ask = [dataclasses.replace(r, **cut) for r in requests(learner, config, prompts=2)]
    for one in (engine, hf):
        one.load(published)
        cut_off = []
        for rollout in one.generate(ask):
            with torch.no_grad(), learner.lora.policy(POLICY[rollout.sampling]):
                packing = pack([rollout], learner.device, share=False)
                ours_C, plain_C = (logprobs_C(learner.model, packing, d) for d in (density, Density(density.temperature)))
            assert (torch.tensor(rollout.logprobs) - ours_C).abs().max() <= 1e-3
            cut_off.append((ours_C - plain_C).max().item())
        assert max(cut_off) > 0.01  # tokens were left out


def test_after_a_publish_outputs_come_from_the_new_version(engine, learner, config):
    """The same prompts before and after: stale prefix-cache keys or the old adapter would miss the learner's new values."""
    ask = requests(learner, config)
    before = engine.generate(ask)
    move(learner, 2, size=0.1)
    published = learner.publish()
    engine.load(published)
    after = engine.generate(ask)
    assert {(r.version, r.digest) for r in after} == {(published.version, published.digest)}
    assert before[0].version == published.version - 1
    assert largest_gap(learner, after) <= 1e-3
    assert largest_gap(learner, before) > 0.1  # the test can tell the versions apart


def test_seeded_sampling_does_not_depend_on_the_rest_of_the_batch(engine, learner, config):
    ask = requests(learner, config)
    together = engine.generate(ask)
    alone = [r for request in ask for r in engine.generate([request])]
    assert [r.completion_ids for r in together] == [r.completion_ids for r in alone]


def test_versions_side_by_side_answer_as_each_would_alone(engine, learner, config):
    """Two versions far apart, both policies of each, in one batch; the served version is still the one it was."""
    ask, versions, alone = requests(learner, config), [], []
    for seed in (3, 4):
        move(learner, seed, size=0.05)
        versions.append(learner.publish())
        engine.load(versions[-1])
        alone.append(engine.generate(ask))
    compared = engine.compare(versions, ask, 0.0)
    assert compared.answers is None and compared.done < sum(len(r.seeds) for r in ask) * len(versions)
    together = engine.compare([], [], math.inf).answers
    assert together is not None
    assert [[(r.id, r.completion_ids) for r in answers] for answers in together] == [
        [(r.id, r.completion_ids) for r in answers] for answers in alone
    ]
    assert [{r.digest for r in answers} for answers in together] == [{v.digest} for v in versions]
    assert [r.completion_ids for r in together[0]] != [r.completion_ids for r in together[1]]
    assert engine.generate(ask) == alone[1]


def test_greedy_vllm_and_transformers_with_peft_agree(engine, learner, config):
    from actors.engines.hf import HfEngine

    hf = HfEngine(config, learner.canary_ids())
    hf.load(learner.publish())
    ask = requests(learner, config, temperature=0.0, count=1)
    theirs, ours = hf.generate(ask), engine.generate(ask)
    assert [r.completion_ids for r in ours] == [r.completion_ids for r in theirs]
    assert [r.finish for r in ours] == [r.finish for r in theirs]
    assert [r.text for r in ours] == [r.text for r in theirs]
    gaps = [abs(a - b) for x, y in zip(ours, theirs, strict=True) for a, b in zip(x.logprobs, y.logprobs, strict=True)]
    assert max(gaps) <= 1e-3
    assert hf.peft is not None
    base, before = hf.peft.get_base_model(), hf.served
    with pytest.raises(AdapterRejected, match="canary"):
        hf.load(dataclasses.replace(learner.publish(), canary_train=learner.canary_base[::-1]))
    assert hf.served is before and hf.generate(ask) == theirs
    move(learner, 9, size=0.05)
    hf.load(learner.publish())
    assert hf.peft.get_base_model() is base and len(hf.peft.peft_config) == 2
    assert largest_gap(learner, hf.generate(ask)) <= 1e-3


def test_a_stopped_rollout_ends_with_the_end_of_turn_token_and_a_cut_one_does_not(engine, learner, config):
    eos = learner.tokenizer.eos_token_id
    for r in engine.generate(requests(learner, config)):
        assert (r.completion_ids[-1] == eos) == (r.finish is FinishReason.STOP)
        assert len(r.completion_ids) <= 24


@pytest.mark.parametrize("fault", ["bytes", "behaviour"])
def test_a_bad_version_is_never_served_and_the_old_one_stays(engine, learner, config, fault):
    good = learner.publish()
    engine.load(good)
    if fault == "bytes":
        torn = bytearray(good.train)
        torn[-1] ^= 1
        bad = dataclasses.replace(good, version=good.version + 1, train=bytes(torn))
    else:
        bad = dataclasses.replace(good, version=good.version + 1, canary_deploy=tuple(x + 0.01 for x in good.canary_deploy))
    with pytest.raises(AdapterRejected, match="digest" if fault == "bytes" else "canary"):
        engine.load(bad)
    rollouts = engine.generate(requests(learner, config, prompts=1))
    assert {r.version for r in rollouts} == {good.version}
    assert largest_gap(learner, rollouts) <= 1e-3


def test_version_zero_is_the_untouched_base(config, engine, learner):
    from pathlib import Path

    from learner.learner import Learner

    fresh = Learner(config, pairs.load(Path(config.data.pairs)))
    engine.load(fresh.publish())
    rollouts = engine.generate(requests(learner, config, prompts=2))
    with fresh.lora.policy(Policy.BASE), torch.no_grad():
        for r in rollouts:
            batch = collate([r], "cpu")
            (base,) = gather(batch, logprobs_GT(fresh.model, batch))
            assert (torch.tensor(r.logprobs) - base).abs().max() <= 1e-4
    engine.load(learner.publish())
