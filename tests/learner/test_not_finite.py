"""What is not finite ends in an error or in a step that is not taken: never in labels out of nothing, never in NaN weights."""

import math
from pathlib import Path

import pytest
import torch

from learner import optimizer, router
from learner.learner import Learner
from vgrout import pairs
from vgrout.config import load
from vgrout.records import Sample, Sampling

SMALL = ["lora.rank=16", "runtime.learner_threads=1", "runtime.side_by_side=1", "optim.warmup=1"]
MATCHED = ["gate.fractions=[0.5, 0.2, 0.3]"]


def made(arm, *sets):
    """(learner, two groups of rollouts of it)."""
    config = load(Path("configs/tiny.toml"), arm=arm, seed=5, sets=[*SMALL, *sets])
    learner = Learner(config, pairs.load(Path(config.data.pairs))[::8])
    sides = learner.router.pairs.clean
    rewards = [3.5, 0.5, 0.0, 3.5] * 2
    samples = [
        Sample(f"{n}", n // 4, sides[n // 4].prompt_ids, sides[n % 3].completion_ids[:9], (-1.0,) * 9, Sampling.DEPLOY, 0, reward)
        for n, reward in enumerate(rewards)
    ]
    return learner, samples


@pytest.mark.parametrize(("arm", "sets"), [("routev", []), ("placebo", MATCHED)])
@pytest.mark.parametrize("row", [0, -1], ids=["hack side", "clean side"])
def test_a_pair_without_a_finite_c_probe_ends_the_refresh(arm, sets, row, monkeypatch):
    learner, samples = made(arm, *sets)

    def broken(*args, **options):
        cgrad_GMR = real(*args, **options)
        cgrad_GMR[row, 0] = math.nan
        return cgrad_GMR

    real = router.probe
    monkeypatch.setattr(router, "probe", broken)
    with pytest.raises(FloatingPointError, match="of a pair"):
        learner.update(samples)


def test_a_rollout_without_a_finite_score_ends_the_update(monkeypatch):
    learner, samples = made("routev")
    real = learner.ahead.take

    def broken(*args):
        known = real(*args)
        assert known[3].cgrad_MR is not None
        known[3].cgrad_MR[0] = math.nan
        return known

    monkeypatch.setattr(learner.ahead, "take", broken)
    with pytest.raises(FloatingPointError, match="update 0: the score of 1 rollouts is not finite, of 3 first"):
        learner.update(samples)


@pytest.mark.parametrize("clip_by", ["adapter", "block"])
@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_gradient_that_is_not_finite_moves_nothing_and_is_reported(clip_by, value, monkeypatch):
    learner, samples = made("absorb", f"optim.clip_by={clip_by}", "optim.weight_decay=0.1")
    assert learner.update(samples).metrics["skipped_update"] == 0
    before = learner.publish().train
    real = optimizer.Optimizer.step

    def planted(self, lr):
        learner.lora.parameters()[0].grad.view(-1)[0] = value  # pyright: ignore[reportOptionalMemberAccess]
        return real(self, lr)

    with monkeypatch.context() as patch:
        patch.setattr(optimizer.Optimizer, "step", planted)
        metrics = learner.update(samples).metrics
    assert metrics["skipped_update"] == 1 and not math.isfinite(metrics["grad_norm/total"])
    assert learner.publish().train == before and learner.version == 2
    metrics = learner.update(samples).metrics  # the next step is taken
    assert metrics["skipped_update"] == 0 and learner.publish().train != before
    assert all(torch.isfinite(p).all() for p in learner.lora.parameters())
