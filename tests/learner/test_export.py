"""Exports through PEFT's own loader, and what they must not contain."""

import pytest
import torch
from peft import PeftModel
from random_model import TARGETS, base_model, rollouts
from safetensors.torch import load

from learner.export import peft_bytes
from learner.lora2r import Policy
from learner.model import collate
from learner.peft_folder import adapter_config, write_peft
from vgrout.errors import UserError
from vgrout.lora_ranks import export_rank


def logits(model, batch):
    with torch.no_grad():
        return model(input_ids=batch.ids_GT, use_cache=False).logits


@pytest.mark.parametrize(("policy", "blocks"), [(Policy.DEPLOY, 1), (Policy.TRAIN, 2)])
def test_peft_loads_the_export_and_gives_the_learners_logits(trained, tmp_path, policy, blocks):
    model, lora = trained
    config = adapter_config("base", export_rank(lora.rank, blocks), TARGETS)
    write_peft(tmp_path / "adapter", peft_bytes(lora.factors(), lora.rank, blocks), config)
    peft = PeftModel.from_pretrained(base_model(), str(tmp_path / "adapter"))
    batch = collate(rollouts(5), "cpu")
    with lora.policy(policy):
        expected = logits(model, batch)
    assert (logits(peft, batch) - expected).abs().max() <= 1e-4
    assert (logits(base_model(), batch) - expected).abs().max() > 1e-2


def test_export_of_an_untrained_adapter_is_exactly_the_base(fresh, tmp_path):
    _, lora = fresh
    write_peft(
        tmp_path / "a", peft_bytes(lora.factors(), lora.rank, 2), adapter_config("base", export_rank(lora.rank, 2), TARGETS)
    )
    batch = collate(rollouts(4), "cpu")
    peft = PeftModel.from_pretrained(base_model(), str(tmp_path / "a"))
    assert torch.equal(logits(peft, batch), logits(base_model(), batch))


def test_a_quarantine_perturbation_changes_the_train_export_only(trained):
    _, lora = trained
    deploy, train = peft_bytes(lora.factors(), lora.rank, 1), peft_bytes(lora.factors(), lora.rank, 2)
    with torch.no_grad():
        for m in lora.modules.values():
            m.a_SI[lora.rank :] += 1.0
            m.b_OS[:, lora.rank :] -= 1.0
    assert peft_bytes(lora.factors(), lora.rank, 1) == deploy
    assert peft_bytes(lora.factors(), lora.rank, 2) != train


def test_exports_are_copies(trained):
    """vLLM folds alpha/r into B in place on some versions: what is exported must not be what is trained."""
    _, lora = trained
    before = peft_bytes(lora.factors(), lora.rank, 1)
    from learner.export import peft_tensors

    for tensor in peft_tensors(lora.factors(), lora.rank, 1).values():
        tensor.zero_()
    assert peft_bytes(lora.factors(), lora.rank, 1) == before


def test_bf16_export_does_not_cancel(fresh):
    """A tiny move of B survives bf16: B - B0 is exported, never B beside B0 (whose difference bf16 would lose)."""
    _, lora = fresh
    with torch.no_grad():
        for m in lora.modules.values():
            m.b_OS += 1e-4
    tensors = load(peft_bytes(lora.factors(), lora.rank, 1, "bf16"))
    b = next(v for k, v in tensors.items() if k.endswith("lora_B.weight"))
    torch.testing.assert_close(b[:, : lora.rank].float(), torch.full_like(b[:, : lora.rank].float(), 1e-4), rtol=0.01, atol=0)


def test_an_export_is_never_overwritten_silently(trained, tmp_path):
    _, lora = trained
    data, config = peft_bytes(lora.factors(), lora.rank, 1), adapter_config("base", 8, TARGETS)
    write_peft(tmp_path, data, config)
    with pytest.raises(UserError, match="existing adapter"):
        write_peft(tmp_path, data, config)
