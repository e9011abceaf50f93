"""What is computed ahead of an update changes nothing in it: the same bytes, in whatever order the groups came."""

import random
from pathlib import Path

import pytest
import torch

from learner.learner import Learner
from vgrout import pairs
from vgrout.config import load
from vgrout.records import Sample, Sampling

SMALL = ["lora.rank=16", "runtime.learner_threads=1", "optim.warmup=1", "train.micro_tokens=512"]


def two_updates(arm, sets, orders):
    """(adapter bytes, metrics) after two updates; `orders` says which groups are prepared when, update by update."""
    config = load(Path("configs/tiny.toml"), arm=arm, seed=5, sets=[*SMALL, *sets])
    learner = Learner(config, pairs.load(Path(config.data.pairs))[:8])
    metrics = []
    for update in range(2):
        draw, samples = random.Random(update), []
        for n in range(12):
            ids = tuple(draw.randrange(3, 600) for _ in range(draw.randint(4, 30)))
            prompt = learner.router.pairs.clean[n // 4].prompt_ids
            reward = draw.choice([0.0, 0.5, 3.5])
            samples.append(Sample(f"{update}-{n}", n // 4, prompt, ids, (-5.0,) * len(ids), Sampling.TRAIN, 0, reward))
        for group in orders[update]:
            learner.prepare([s for s in samples if s.group == group])
        metrics.append(learner.update(samples).metrics)
        assert not learner.frozen_base.known
    return learner.publish().train, metrics


@pytest.mark.parametrize(("arm", "sets"), [("routev", []), ("routev", ["rollout.temperature=0.7"]), ("vanilla", [])])
def test_prepared_in_any_order_or_not_at_all_gives_the_same_bytes(arm, sets):
    alone, metrics = two_updates(arm, sets, [[], []])
    assert torch.isfinite(torch.tensor([m["loss"] for m in metrics])).all() and metrics[1]["grad_norm/total"] > 0
    again, same = two_updates(arm, sets, [[2, 0, 1], [1]])
    assert again == alone
    assert str(same) == str(metrics)  # as text: a pinned gate's scores are NaN
