"""The c-probe against solo runs, finite differences and the written-out formula."""

import itertools

import torch
from random_model import rollouts

from learner import packed_attention
from learner.cprobe import probe
from learner.lora2r import Policy
from learner.model import collate, logprobs_GT

MODULE = "model.layers.0.self_attn.v_proj"


def test_batch_equals_solo(trained):
    model, lora = trained
    items = rollouts(7)
    for initial, share in itertools.product((False, True), repeat=2):
        batch = probe(model, lora, items, initial=initial, budget=10_000, share=share)
        solo = torch.cat([probe(model, lora, [i], initial=initial, budget=10_000, share=share) for i in items])
        torch.testing.assert_close(batch, solo, atol=1e-6, rtol=1e-4)
        assert batch.abs().sum() > 0


def test_micro_batches_change_nothing(trained):
    model, lora = trained
    items = rollouts(7)
    whole = probe(model, lora, items, initial=False, budget=10_000)
    torch.testing.assert_close(probe(model, lora, items, initial=False, budget=20), whole, atol=1e-6, rtol=1e-4)


def test_gate_gradient_equals_a_finite_difference_in_float64(trained):
    """Scale row k of h = A[:r] x by 1 + eps in the deployed block, by hand: B_k changes, -B0 A0 does not."""
    model, lora = trained
    items = rollouts(1)
    exact = probe(model, lora, items, initial=False, budget=10_000)[0]
    model.double()
    index = list(lora.modules).index(MODULE)
    module, k, eps = lora.modules[MODULE], 2, 3e-3  # the norms round to float32: a smaller step drowns in that

    def mean_nll(scale: float) -> float:
        hook = module.register_forward_hook(lambda m, x, y: y + (scale - 1) * (x[0] @ m.a_SI[k])[..., None] * m.b_OS[:, k])
        batch = collate(items, "cpu")
        with torch.no_grad(), lora.policy(Policy.DEPLOY):
            value = -(log_softmax_reference(model, batch)).sum() / batch.lengths_G[0]
        hook.remove()
        return value.item()

    slope = (mean_nll(1 + eps) - mean_nll(1 - eps)) / (2 * eps)
    assert abs(slope - exact[index, k].item()) < 1e-4 * max(1.0, abs(slope))


def log_softmax_reference(model, batch):
    """Plain log-probabilities: all logits at once."""
    logits = model(input_ids=batch.ids_GT, use_cache=False).logits[:, :-1]
    chosen = logits.log_softmax(-1).gather(2, batch.ids_GT[:, 1:, None]).squeeze(2)
    return chosen * batch.completion_GT[:, 1:]


def test_initial_probe_does_not_see_training(fresh, trained):
    """`trained` moved the adapter that `fresh` made; at the initial policy the probe is that of an untouched adapter."""
    from random_model import TARGETS, base_model

    from learner.lora2r import Lora2r

    items = rollouts(3)
    model, lora = trained
    untouched = base_model()
    untouched.set_attn_implementation(packed_attention.NAME)
    reference = probe(untouched, Lora2r(untouched, TARGETS, lora.rank, seed=7), items, initial=False, budget=10_000)
    torch.testing.assert_close(probe(model, lora, items, initial=True, budget=10_000), reference, atol=1e-6, rtol=1e-5)
    assert not torch.allclose(probe(model, lora, items, initial=False, budget=10_000), reference, atol=1e-4)


def test_probe_leaves_no_gradient_and_no_trace(trained):
    model, lora = trained
    batch = collate(rollouts(2), "cpu")
    before = logprobs_GT(model, batch).detach()
    probe(model, lora, rollouts(2), initial=False, budget=10_000)
    assert all(p.grad is None for p in lora.parameters())
    assert torch.equal(before, logprobs_GT(model, batch).detach())


def test_chunked_logprobs_equal_all_logits_at_once(trained, monkeypatch):
    model, _ = trained
    batch = collate(rollouts(5), "cpu")
    monkeypatch.setattr("learner.model.CHUNK_TOKENS", 3)
    torch.testing.assert_close(logprobs_GT(model, batch)[:, 1:], log_softmax_reference(model, batch), atol=1e-5, rtol=1e-5)
