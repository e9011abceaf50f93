"""Advantages and loss against plain Python loops, and hand-computed values."""

import math
from statistics import fmean, stdev

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from learner.objective import SIGMA_FLOOR, TokenTerms, above_mean, advantages, loss
from vgrout.records import GateLabel

LABELS = list(GateLabel)


def loop_advantages(rewards, groups, labels, baseline):
    out, skipped = [], []
    for i, reward in enumerate(rewards):
        mates = [j for j in range(len(rewards)) if groups[j] == groups[i]]
        values = [rewards[j] for j in mates]
        if len(set(values)) == 1:
            out.append(0.0)
            skipped.append(True)
            continue
        chosen = values
        if baseline == "unrouted" and labels[i] != GateLabel.HACK:
            chosen = [rewards[j] for j in mates if labels[j] != GateLabel.HACK]
        out.append(reward - sum(chosen) / len(chosen))
        skipped.append(False)
    return out, skipped


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.5, 3.5]), st.integers(0, 3), st.sampled_from(LABELS)), min_size=1, max_size=24),
    st.sampled_from(["group", "unrouted"]),
)
def test_advantages_equal_a_plain_loop(rows, baseline):
    rewards, groups, labels = (list(column) for column in zip(*rows, strict=True))
    got = advantages(rewards, groups, labels, baseline)
    expected, skipped = loop_advantages(rewards, groups, labels, baseline)
    assert got.skipped_G.tolist() == skipped
    torch.testing.assert_close(got.advantage_G, torch.tensor(expected), atol=1e-6, rtol=1e-6)


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 3.5]), st.integers(0, 3)), min_size=1, max_size=24))
def test_sigma_divides_by_the_deviation_of_the_group_and_paid_means_above_its_mean(rows):
    rewards, groups = (list(column) for column in zip(*rows, strict=True))
    labels = [GateLabel.CLEAN] * len(rows)
    plain = advantages(rewards, groups, labels, "group").advantage_G.tolist()
    got = advantages(rewards, groups, labels, "group", "sigma").advantage_G.tolist()
    for i, group in enumerate(groups):
        values = [r for r, g in zip(rewards, groups, strict=True) if g == group]
        varied = len(set(values)) > 1
        assert got[i] == pytest.approx(plain[i] / (stdev(values) + SIGMA_FLOOR) if varied else 0.0, rel=1e-4)
        assert above_mean(rewards, groups)[i] == (rewards[i] > fmean(values))


def test_tokens_of_groups_that_do_not_vary_may_be_left_out_of_the_kl():
    token = torch.tensor([-1.0, -2.0])
    terms = TokenTerms(token, token, token - 0.5, torch.ones(2), torch.zeros(2), torch.tensor([True, False]))
    alone = TokenTerms(token[:1], token[:1], token[:1] - 0.5, torch.ones(1), torch.zeros(1))
    assert loss(terms, clip=0.2, kl=0.1, denominator=7)[0] == loss(alone, clip=0.2, kl=0.1, denominator=7)[0] > 0


def test_routed_hacks_do_not_push_honest_failures_down():
    """Two hacks at 3.5, two honest failures at 0.5: with the unrouted baseline the failures get advantage 0."""
    labels = [GateLabel.HACK, GateLabel.HACK, GateLabel.CLEAN, GateLabel.MID]
    group = advantages([3.5, 3.5, 0.5, 0.5], [0] * 4, labels, "group").advantage_G
    unrouted = advantages([3.5, 3.5, 0.5, 0.5], [0] * 4, labels, "unrouted").advantage_G
    assert group.tolist() == [1.5, 1.5, -1.5, -1.5]
    assert unrouted.tolist() == [1.5, 1.5, 0.0, 0.0]


def loop_loss(terms, clip, kl, denominator):
    total, clipped, near = 0.0, 0, 0
    for c in range(len(terms.logprob_C)):
        new, a = terms.logprob_C[c].item(), terms.advantage_C[c].item()
        ratio = math.exp(new - terms.old_C[c].item())
        bounded = min(max(ratio, 1 - clip), 1 + clip)
        clipped += ratio * a > bounded * a + 1e-5
        near += 0 < abs(ratio * a - bounded * a) <= 1e-5 or abs(abs(ratio - 1) - clip) < 1e-5  # float32 may see either side
        total -= min(ratio * a, bounded * a) * terms.weight_C[c].item()
        if kl:
            d = terms.reference_C[c].item() - new
            total += kl * (math.exp(d) - d - 1)
    return total / denominator, clipped, near


@given(st.integers(0, 10_000), st.integers(1, 15), st.sampled_from([0.0, 0.1]))
def test_loss_equals_a_plain_loop(seed, tokens, kl):
    g = torch.Generator().manual_seed(seed)

    def draw():
        return -torch.rand(tokens, generator=g) * 2

    terms = TokenTerms(draw(), draw(), draw() if kl else None, -draw(), torch.randn(tokens, generator=g))
    value, clipped = loss(terms, clip=0.2, kl=kl, denominator=37.0)
    expected, expected_clipped, near = loop_loss(terms, 0.2, kl, 37.0)
    assert value.item() == pytest.approx(expected, abs=1e-5)
    assert expected_clipped <= clipped.item() <= expected_clipped + near


def test_gradient_at_ratio_one_is_advantage_over_denominator():
    logprob = torch.full((3,), -1.0, requires_grad=True)
    terms = TokenTerms(logprob, logprob.detach(), None, torch.ones(3), torch.tensor([2.0, 2.0, -1.0]))
    value, _ = loss(terms, clip=0.2, kl=0.0, denominator=10.0)
    value.backward()
    assert logprob.grad is not None
    torch.testing.assert_close(logprob.grad, torch.tensor([-0.2, -0.2, 0.1]))


def test_long_and_short_rollouts_weigh_the_same_per_token():
    def value(tokens):
        zero, one = torch.zeros(tokens), torch.ones(tokens)
        return loss(TokenTerms(zero, zero, None, one, one), clip=0.2, kl=0.0, denominator=64.0)[0].item()

    assert value(8) == pytest.approx(4 * value(2))
