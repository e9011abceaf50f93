"""An adapter on the random Qwen3: fresh, and with both blocks moved away from their start."""

import pytest
import torch
from random_model import TARGETS, base_model

from learner import packed_attention
from learner.lora2r import Lora2r


@pytest.fixture(params=[4, 16], ids=["factored", "dense"])
def fresh(request):
    """(model, lora) at initialisation: of a rank that is computed in factored form, and of one that forms the matrices."""
    model = base_model()
    model.set_attn_implementation(packed_attention.NAME)
    lora = Lora2r(model, TARGETS, rank=request.param, seed=7)
    assert {m.dense for m in lora.modules.values()} == {request.param == 16}
    return model, lora


@pytest.fixture
def trained(fresh):
    """(model, lora) after a random move of A and B, as training would make."""
    model, lora = fresh
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in lora.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model, lora
