"""What an update logs of policies is what a plain forward pass over padded rollouts gives.

KL and entropy: with the adapter and without it. Importance ratios: the policy that a rollout trains over the one that wrote it.
"""

import math
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from learner import ahead, packed_attention
from learner.learner import Learner
from learner.lora2r import ROUTED, Policy
from learner.model import collate, gather, logprobs_GT
from vgrout import pairs
from vgrout.config import load
from vgrout.records import Author, GateLabel, Sample, Sampling

SETS = ["lora.rank=16", "runtime.learner_threads=1", "optim.warmup=1", "optim.lr=0.01", "train.micro_tokens=512"]


@pytest.mark.parametrize(("kl", "known"), [(0.0, [1, 5]), (0.2, [0, 1, 2, 3, 4, 5])])
def test_kl_and_entropy_are_those_of_a_plain_forward_pass(kl, known, monkeypatch):
    monkeypatch.setattr(ahead, "WATCH_EVERY", 4)  # without objective.kl: 0 and 4 of 6, then 8 and 12 of 7 more
    config = load(Path("configs/tiny.toml"), arm="vanilla", seed=5, sets=[*SETS, f"objective.kl={kl}", "rollout.temperature=0.7"])
    learner = Learner(config, pairs.load(Path(config.data.pairs))[:4])
    draw, samples = random.Random(1), []
    for n in range(6):
        ids = tuple(draw.randrange(3, 600) for _ in range(draw.randint(4, 30)))
        prompt = learner.router.pairs.clean[n // 3].prompt_ids
        samples.append(Sample(str(n), n // 3, prompt, ids, (-5.0,) * len(ids), Sampling.TRAIN, 0, float(n)))
    taught = Sample("t", 0, samples[0].prompt_ids, samples[0].completion_ids, (), Sampling.TRAIN, 0, 9.0, Author.TEACHER)
    assert learner.update(samples).metrics["kl/reference"] == pytest.approx(0, abs=1e-12)

    learner.model.set_attn_implementation("sdpa")
    batch, plain = collate(samples, learner.device), {}
    for policy in (Policy.TRAIN, Policy.BASE):
        with torch.no_grad(), learner.lora.policy(policy):
            plain[policy] = [x.double() for x in gather(batch, logprobs_GT(learner.model, batch, 0.7))]
    learner.model.set_attn_implementation(packed_attention.NAME)
    said = learner.update([*samples, taught]).metrics

    ratio = torch.cat([plain[Policy.BASE][i] - plain[Policy.TRAIN][i] for i in known])
    assert (
        said["kl/reference"] == pytest.approx((ratio.exp() - ratio - 1).mean().item(), rel=1e-3) and said["kl/reference"] > 1e-6
    )
    assert said["entropy"] == pytest.approx(-torch.cat(plain[Policy.TRAIN]).mean().item(), rel=1e-5)
    unmeasured = learner.update(samples[:1]).metrics["kl/reference"]  # the 3rd rollout of a run of updates of this size
    assert math.isnan(unmeasured) == (kl == 0)


CLEAN, MID, HACK = GateLabel.CLEAN, GateLabel.MID, GateLabel.HACK


@pytest.mark.parametrize("sampling", Sampling)
def test_importance_ratios_of_clean_and_hack_rollouts_are_those_of_a_plain_forward_pass(sampling):
    """Whoever wrote them: of the blocks that a label trains under, over what the engine said; exact where it is one policy."""
    config = load(Path("configs/tiny.toml"), arm="oracle_gate", seed=5, sets=SETS)
    learner = Learner(config, pairs.load(Path(config.data.pairs))[:4])
    labels, draw, samples = [HACK, CLEAN, CLEAN, HACK, MID, HACK, CLEAN], random.Random(2), []
    for n in range(len(labels)):
        ids = tuple(draw.randrange(3, 600) for _ in range(draw.randint(4, 12)))
        prompt = learner.router.pairs.clean[n // 4].prompt_ids
        samples.append(Sample(str(n), n // 4, prompt, ids, (-5.0,) * len(ids), sampling, 0, float(n)))
    given = {s.rollout_id: label for s, label in zip(samples, labels, strict=True)}
    learner.update(samples, given)  # now the two blocks are apart

    learner.model.set_attn_implementation("sdpa")
    batch, plain = collate(samples, learner.device), {}
    for policy in (Policy.DEPLOY, Policy.TRAIN):
        with torch.no_grad(), learner.lora.policy(policy):
            plain[policy] = gather(batch, logprobs_GT(learner.model, batch))
    learner.model.set_attn_implementation(packed_attention.NAME)
    wrote = plain[Policy.TRAIN if sampling is Sampling.TRAIN else Policy.DEPLOY]
    told = [replace(s, logprobs=tuple(now_N.tolist())) for s, now_N in zip(samples, wrote, strict=True)]
    taught = replace(told[0], rollout_id="t", logprobs=(), author=Author.TEACHER)  # has no ratio
    said = learner.update([*told, taught], given | {"t": HACK}).metrics

    for block, label, same in (("deployed", CLEAN, Sampling.DEPLOY), ("quarantine", HACK, Sampling.TRAIN)):
        trains = plain[Policy.DEPLOY if ROUTED[label].blocks == 1 else Policy.TRAIN]
        ratios = [math.exp((trains[i] - wrote[i]).double().sum()) for i, x in enumerate(labels) if x is label]
        median, size = sorted(ratios)[1], sum(ratios) ** 2 / sum(r * r for r in ratios) / 3
        assert said[f"importance/{block}_median"] == pytest.approx(median, rel=1e-3)
        assert said[f"importance/{block}_ess"] == pytest.approx(size, rel=1e-3)
        assert (abs(median - 1) < 1e-3) == (abs(size - 1) < 1e-3) == (sampling is same)
    none = learner.update(told[1:3], given).metrics
    assert math.isnan(none["importance/quarantine_median"]) and math.isnan(none["importance/quarantine_ess"])
