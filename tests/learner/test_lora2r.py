"""lora2r against the written-out formula, the base model, and solo runs."""

import pytest
import torch
from random_model import TARGETS, base_model, rollouts

from learner.lora2r import ROUTED, Lora2r, Policy
from learner.lora2r_products import Branch
from learner.model import collate, logprobs_GT
from vgrout.errors import UserError
from vgrout.records import GateLabel


def logits(model, batch):
    return model(input_ids=batch.ids_GT, use_cache=False).logits


def gradients(lora):
    """{(module, block): flat gradient} and clear."""
    out, r = {}, lora.rank
    for name, m in lora.modules.items():
        a, b = m.a_SI.grad, m.b_OS.grad
        for block, s in (("deployed", slice(0, r)), ("quarantine", slice(r, 2 * r))):
            out[name, block] = torch.cat([a[s].flatten(), b[:, s].flatten()]).clone()
        m.a_SI.grad = m.b_OS.grad = None
    return out


def backward(model, lora, items, label):
    with lora.policy(ROUTED[label]):
        logprobs_GT(model, collate(items, "cpu")).sum().backward()
    return gradients(lora)


def test_every_module_has_the_layer_that_its_name_says(fresh):
    _, lora = fresh
    assert lora.layers() == [int(name.split(".")[2]) for name in lora.modules]


@pytest.mark.parametrize("policy", [Policy.TRAIN, Policy.DEPLOY])
def test_adapter_is_bit_exact_zero_at_init(fresh, policy):
    model, lora = fresh
    batch = collate(rollouts(5), "cpu")
    with torch.no_grad(), lora.policy(policy):
        adapted = logits(model, batch)
    with torch.no_grad():
        assert torch.equal(adapted, logits(base_model(), batch))


def test_adapter_off_equals_base(trained):
    model, lora = trained
    batch = collate(rollouts(5), "cpu")
    with torch.no_grad(), lora.policy(Policy.BASE):
        off = logits(model, batch)
    with torch.no_grad():
        assert torch.equal(off, logits(base_model(), batch))
        assert not torch.allclose(logits(model, batch), off)


def test_stable_form_equals_BA_minus_B0A0_in_float64(trained):
    _, lora = trained
    module = lora.modules["model.layers.1.mlp.up_proj"]
    x = torch.randn(2, 3, 32, generator=torch.Generator().manual_seed(1))
    f = {k: v.detach().double() for k, v in (("a", module.a_SI), ("b", module.b_OS), ("a0", module.a0_SI), ("b0", module.b0_OS))}
    for start, stop in ((0, lora.rank), (lora.rank, 2 * lora.rank)):
        s = slice(start, stop)
        delta = f["b"][:, s] @ f["a"][s] - f["b0"][:, s] @ f["a0"][s]
        torch.testing.assert_close(module.delta(start, stop).double(), delta, atol=1e-5, rtol=1e-4)
        branch = Branch.apply(x, *module.block(start, stop), None)
        torch.testing.assert_close(branch.double(), x.double() @ delta.T, atol=1e-5, rtol=1e-4)


def test_deploy_policy_ignores_the_quarantine(trained):
    model, lora = trained
    batch = collate(rollouts(3), "cpu")
    with torch.no_grad(), lora.policy(Policy.DEPLOY):
        before = logits(model, batch)
        for m in lora.modules.values():
            m.a_SI[lora.rank :].normal_()
            m.b_OS[:, lora.rank :].normal_()
        assert torch.equal(before, logits(model, batch))


def test_policy_context_restores_what_was_set_even_after_an_error(trained):
    model, lora = trained
    batch = collate(rollouts(3), "cpu")
    with torch.no_grad():
        before = logits(model, batch)
        with pytest.raises(RuntimeError), lora.policy(Policy.HACK):
            raise RuntimeError
        with pytest.raises(RuntimeError), lora.probed(torch.ones(3, 9), initial=True):
            raise RuntimeError
        assert all(p.requires_grad for p in lora.parameters())
        assert torch.equal(before, logits(model, batch))


@pytest.mark.parametrize(
    ("label", "untrained"), [(GateLabel.CLEAN, "quarantine"), (GateLabel.HACK, "deployed"), (GateLabel.MID, None)]
)
def test_a_label_trains_its_blocks_and_leaves_the_other_a_gradient_of_exactly_zero(trained, label, untrained):
    for (_, block), gradient in backward(*trained, rollouts(4), label).items():
        assert (gradient == 0).all() == (block == untrained)


def test_values_under_a_label_are_those_of_the_plain_policies(trained):
    """Clean computes the deployed policy, mid and hack compute the train policy."""
    model, lora = trained
    batch = collate(rollouts(3), "cpu")

    def under(policy):
        with torch.no_grad(), lora.policy(policy):
            return logits(model, batch)

    torch.testing.assert_close(under(ROUTED[GateLabel.CLEAN]), under(Policy.DEPLOY))
    for label in (GateLabel.MID, GateLabel.HACK):
        torch.testing.assert_close(under(ROUTED[label]), under(Policy.TRAIN), atol=1e-5, rtol=1e-5)


def test_init_is_seeded_per_module_with_the_stated_variances():
    wide = torch.nn.ModuleDict({"q_proj": torch.nn.Linear(400, 300), "k_proj": torch.nn.Linear(400, 300)})
    one, two, other = (Lora2r(torch.nn.Sequential(m), ("q_proj",), 64, s) for m, s in ((wide, 5), (_again(), 5), (_again(), 6)))
    (a,), (b,), (c,) = (tuple(x.modules.values()) for x in (one, two, other))
    assert torch.equal(a.a_SI, b.a_SI) and not torch.equal(a.a_SI, c.a_SI)
    assert a.a0_SI.var().item() == pytest.approx(1 / 400, rel=0.05)
    assert a.b0_OS.var().item() == pytest.approx(1 / 128, rel=0.05)


def _again():
    return torch.nn.ModuleDict({"q_proj": torch.nn.Linear(400, 300), "k_proj": torch.nn.Linear(400, 300)})


def test_unknown_target_is_named():
    with pytest.raises(UserError, match="no_such_proj"):
        Lora2r(base_model(), (*TARGETS, "no_such_proj"), 4, 0)
