"""The adapter of a scale s computes the base, the deployed block, and s times the quarantine."""

import pytest
import torch
from safetensors.torch import load as tensors_of

from actors.quarantine_sweep import scaled
from learner.learner import Learner
from learner.lora2r import Policy
from vgrout import pairs
from vgrout.config import load


@pytest.fixture(scope="module")
def learner():
    from pathlib import Path

    config = load(
        "tiny", arm="vanilla", seed=4, sets=["lora.rank=4", "lora.targets=['v_proj','down_proj']", "runtime.learner_threads=1"]
    )
    learner = Learner(config, pairs.load(Path(config.data.pairs))[:2])
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
