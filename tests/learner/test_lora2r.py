"""lora2r against the written-out formula, the base model, and solo runs."""

import pytest
import torch
from random_model import TARGETS, base_model, rollouts

from learner.lora2r import Lora2r, Policy
from learner.model import collate, logprobs_GT
from vgrout.errors import UserError


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


def backward(model, lora, items, weights, m, d):
    batch = collate(items, "cpu")
    with lora.routed(torch.tensor(m), torch.tensor(d)):
        value = (logprobs_GT(model, batch).sum(1) * torch.tensor(weights)).sum()
    value.backward()
    return gradients(lora)


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
        torch.testing.assert_close(module.branch(x, start, stop).double(), x.double() @ delta.T, atol=1e-5, rtol=1e-4)


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
        with pytest.raises(RuntimeError), lora.routed(torch.ones(3, dtype=torch.bool), torch.ones(3, dtype=torch.bool)):
            raise RuntimeError
        with lora.probed(3, initial=True):
            pass
        assert torch.equal(before, logits(model, batch))


def test_clean_rollouts_leave_the_quarantine_a_gradient_of_exactly_zero(trained):
    got = backward(*trained, rollouts(4), [1.0] * 4, [False] * 4, [False] * 4)
    assert all((g == 0).all() for (_, block), g in got.items() if block == "quarantine")
    assert all(g.abs().sum() > 0 for (_, block), g in got.items() if block == "deployed")


def test_hack_rollouts_leave_the_deployed_block_a_gradient_of_exactly_zero(trained):
    got = backward(*trained, rollouts(4), [1.0] * 4, [True] * 4, [True] * 4)
    assert all((g == 0).all() for (_, block), g in got.items() if block == "deployed")
    assert all(g.abs().sum() > 0 for (_, block), g in got.items() if block == "quarantine")


def test_mid_rollouts_train_both_blocks(trained):
    got = backward(*trained, rollouts(4), [1.0] * 4, [True] * 4, [False] * 4)
    assert all(g.abs().sum() > 0 for g in got.values())


def test_mixed_batch_equals_solo_runs(trained):
    items, weights = rollouts(6), [1.0, -2.0, 0.5, 3.0, -1.0, 0.7]
    m, d = [False, True, True, False, True, True], [False, False, True, False, True, False]
    mixed = backward(*trained, items, weights, m, d)
    solo = {key: torch.zeros_like(g) for key, g in mixed.items()}
    for i in range(6):
        for key, g in backward(*trained, [items[i]], [weights[i]], [m[i]], [d[i]]).items():
            solo[key] += g
    for key in mixed:
        torch.testing.assert_close(mixed[key], solo[key], atol=2e-5, rtol=1e-4)


def test_mask_values_match_the_plain_policies(trained):
    """Forward values: clean computes the deployed policy, mid and hack compute the train policy."""
    model, lora = trained
    batch = collate(rollouts(3), "cpu")
    with torch.no_grad():
        with lora.routed(torch.tensor([False, True, True]), torch.tensor([False, False, True])):
            routed = logits(model, batch)
        with lora.policy(Policy.DEPLOY):
            deploy = logits(model, batch)
        train = logits(model, batch)
    torch.testing.assert_close(routed[0], deploy[0])
    torch.testing.assert_close(routed[1:], train[1:])


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
