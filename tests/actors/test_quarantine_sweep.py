"""Adapters made from others. That of a scale s computes the base, the deployed block, and s times the quarantine."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load as tensors_of

from actors.quarantine_sweep import scaled
from learner.learner import Learner
from learner.lora2r import Policy
from vgrout import pairs
from vgrout.config import load
from vgrout.errors import UserError


def some_pairs(config):
    return pairs.load(Path(config.data.pairs))[:2]


@pytest.fixture(scope="module")
def learner():
    config = load(
        "tiny", arm="vanilla", seed=4, sets=["lora.rank=4", "lora.targets=['v_proj','down_proj']", "runtime.learner_threads=1"]
    )
    learner = Learner(config, some_pairs(config))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in learner.lora.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return learner


def delta(adapter, name, rows):
    found = {k.removeprefix("base_model.model."): v for k, v in tensors_of(adapter.train).items()}
    a, b = found[f"{name}.lora_A.weight"], found[f"{name}.lora_B.weight"]
    return b[:, rows] @ a[rows]


def test_the_quarantine_is_scaled_and_the_deployed_block_is_not(learner):
    before = learner.checkpoint()
    whole = learner.publish()
    none, half, all_of_it = scaled(learner, (0.0, 0.5, 1.0))
    assert learner.checkpoint() == before
    assert [one.version for one in (none, half, all_of_it)] == [0, 1, 2]
    rank = learner.lora.rank
    deployed, quarantine = slice(0, 2 * rank), slice(2 * rank, 4 * rank)
    for name in learner.lora.modules:
        for one, scale in ((none, 0.0), (half, 0.5), (all_of_it, 1.0)):
            assert torch.equal(delta(one, name, deployed), delta(whole, name, deployed))
            assert torch.allclose(delta(one, name, quarantine), scale * delta(whole, name, quarantine), atol=1e-6)
    assert none.canary_train == pytest.approx(whole.canary_deploy, abs=1e-4)
    assert all_of_it.canary_train == whole.canary_train
    assert half.canary_train != pytest.approx(whole.canary_train, abs=1e-4)
    with torch.no_grad(), learner.lora.policy(Policy.TRAIN):
        assert learner.publish().digest == whole.digest


def test_a_warm_start_begins_with_the_other_runs_factors_and_refuses_another_seed(learner, tmp_path):
    from dataclasses import replace

    file = tmp_path / "train.safetensors"
    file.write_bytes(learner.checkpoint()[0])
    warm = replace(learner.config, train=replace(learner.config.train, warm_start=str(file)))
    begun = Learner(warm, some_pairs(warm))
    assert begun.version == 0 and begun.publish().digest == learner.publish().digest
    assert begun.initial_digest() == learner.initial_digest() and begun.canary_base == learner.canary_base
    with pytest.raises(UserError, match="same seed"):
        Learner(replace(warm, seed=5), some_pairs(warm))
