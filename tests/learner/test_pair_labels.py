"""The pairs decide: the same rollouts under permuted pair labels end in other weights, under the same labels in the same."""

from dataclasses import replace
from pathlib import Path

import pytest

from learner.learner import Learner
from learner.tokenizer import encode_completion, encode_prompt
from vgrout import pairs
from vgrout.config import load
from vgrout.records import GateLabel, Sample, Sampling

SMALL = ["lora.rank=16", "runtime.learner_threads=1", "rollout.prompts=4", "rollout.samples=4", "optim.warmup=1"]


@pytest.fixture(scope="module")
def config():
    return load(Path("configs/tiny.toml"), arm="routev", seed=5, sets=SMALL)


@pytest.fixture(scope="module")
def authored(config):
    return pairs.load(Path(config.data.pairs))


def trained(config, used, authored) -> tuple[bytes, list[GateLabel]]:
    """One update on 16 fixed rollouts, both sides of 8 authored pairs: (adapter bytes, gate labels)."""
    learner = Learner(config, used)
    samples = []
    for i in range(16):
        pair = authored[i // 2]
        prompt = encode_prompt(learner.tokenizer, pair.messages)
        completion = encode_completion(learner.tokenizer, (pair.hack, pair.clean)[i % 2])
        samples.append(
            Sample(f"{i // 4}-{i % 4}", i // 4, prompt, completion, (-1.0,) * len(completion), Sampling.TRAIN, 0, 0.5 + i % 3)
        )
    result = learner.update(samples)
    return learner.publish().train, [g.label for g in result.gated]


def test_permuted_pair_labels_end_in_other_weights(config, authored):
    permuted = [replace(p, hack=p.clean, clean=p.hack) if i % 4 else p for i, p in enumerate(authored)]
    weights, labels = trained(config, authored, authored)
    same, same_labels = trained(config, authored, authored)
    other, other_labels = trained(config, permuted, authored)
    assert (weights, labels) == (same, same_labels)
    assert GateLabel.HACK in labels
    assert labels != other_labels
    assert weights != other
