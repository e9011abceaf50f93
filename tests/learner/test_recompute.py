"""Gradient checkpointing changes nothing but memory."""

import pytest
import torch
from random_model import rollouts

from learner.cprobe import probe
from learner.gradient_checkpointing import recompute_layers
from learner.lora2r import Policy
from learner.model import collate, logprobs_GT


def routed_gradients(model, lora, policy):
    batch = collate(rollouts(5), "cpu")
    with lora.policy(policy):
        logprob_GT = logprobs_GT(model, batch)
    # The backward pass, and with it the recomputation, runs after the policy is gone, as in Learner.
    logprob_GT.square().sum().backward()
    grads = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in lora.parameters()]
    for p in lora.parameters():
        p.grad = None
    return logprob_GT.detach(), grads


@pytest.mark.parametrize("policy", [Policy.DEPLOY, Policy.HACK])
def test_routed_gradients_are_bit_identical(trained, policy):
    model, lora = trained
    values, grads = routed_gradients(model, lora, policy)
    recompute_layers(model, lora)
    again, recomputed = routed_gradients(model, lora, policy)
    assert torch.equal(values, again)
    assert all(torch.equal(a, b) for a, b in zip(grads, recomputed, strict=True))
    assert any(g.abs().max() > 0 for g in grads)


@pytest.mark.parametrize("initial", [True, False])
def test_cprobe_is_bit_identical(trained, initial):
    model, lora = trained
    before = probe(model, lora, rollouts(4), initial=initial, budget=64)
    recompute_layers(model, lora)
    assert torch.equal(probe(model, lora, rollouts(4), initial=initial, budget=64), before)


def test_only_layer_inputs_are_kept(trained):
    model, lora = trained

    def kept():
        sizes = {}

        def pack(t):
            sizes[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            return t

        batch = collate(rollouts(6), "cpu")
        with (
            torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t),
            lora.policy(Policy.TRAIN),
        ):
            logprobs_GT(model, batch)
        return sum(sizes.values())

    plain = kept()
    recompute_layers(model, lora)
    assert kept() < plain / 5
