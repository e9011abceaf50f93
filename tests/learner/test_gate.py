"""Gate labels, bands and quantiles against brute force."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from learner.gate import Band, ScoreHistory, label, label_by_fractions, only_rewarded, pair_band, weighted_quantile
from learner.pair_tokens import PairTokens
from learner.router import Router
from vgrout.config import MatchedGate
from vgrout.records import GateLabel

scores = st.floats(-1, 1, width=32)


@given(st.lists(scores, min_size=1, max_size=30), scores, scores)
def test_labels_equal_brute_force(values, a, b):
    got = label(torch.tensor(values), Band(a, b))
    for value, name in zip(torch.tensor(values).tolist(), got, strict=True):
        if a < b:
            expected = GateLabel.CLEAN if value < a else GateLabel.HACK if value > b else GateLabel.MID
        else:
            expected = GateLabel.HACK if value > (a + b) / 2 else GateLabel.CLEAN
        assert name is expected


def test_a_two_way_gate_never_says_mid_and_a_three_way_gate_says_it_at_both_edges():
    score_G = torch.tensor([-0.25, 0.0, 0.25])
    two_way = pair_band(torch.tensor([0.5]), torch.tensor([-0.5]), upper_scale=0.0)
    assert two_way == Band(0.0, 0.0)
    assert label(score_G, two_way) == [GateLabel.CLEAN, GateLabel.CLEAN, GateLabel.HACK]
    assert label(score_G, Band(0.0, 0.25)) == [GateLabel.CLEAN, GateLabel.MID, GateLabel.MID]


@given(
    st.lists(scores, min_size=1, max_size=40, unique=True), st.tuples(st.integers(0, 10), st.integers(0, 10), st.integers(1, 10))
)
def test_fractions_are_met_by_rank(values, parts):
    shares = tuple(p / sum(parts) for p in parts)
    labels = label_by_fractions(torch.tensor(values), shares)
    n = len(values)
    assert abs(labels.count(GateLabel.CLEAN) - shares[0] * n) <= 0.5 + 1e-9
    assert abs(labels.count(GateLabel.HACK) - shares[2] * n) <= 1 + 1e-9
    order = {GateLabel.CLEAN: 0, GateLabel.MID: 1, GateLabel.HACK: 2}
    ranked = [order[labels[i]] for i in torch.argsort(torch.tensor(values)).tolist()]
    assert ranked == sorted(ranked)


@given(st.lists(scores, min_size=1, max_size=50), st.floats(0, 1))
def test_equal_weights_give_the_inverted_cdf_quantile(values, q):
    expected = np.quantile(np.array(values), q, method="inverted_cdf")
    got = weighted_quantile(values, [1.0] * len(values), q)
    # At a step of the empirical cdf, float rounding of q*n may pick either neighbour.
    step = sorted(values)
    near = {step[min(len(step) - 1, max(0, int(np.ceil(q * len(step) + e)) - 1))] for e in (-1e-9, 0, 1e-9)}
    assert got == expected or got in near


def test_a_weight_of_two_is_a_value_seen_twice():
    for q in (0.1, 0.35, 0.5, 0.9):
        twice = weighted_quantile([1.0, 2.0, 2.0, 3.0], [1.0] * 4, q)
        assert weighted_quantile([1.0, 2.0, 3.0], [1.0, 2.0, 1.0], q) == twice


def test_recent_scores_outweigh_old_ones():
    history = ScoreHistory(half_life=1.0)
    for value in (0.0, 0.0, 0.0, 1.0):
        history = history.add(torch.full((10,), value))
    assert history.band((0.2, 0.8)) == Band(0.0, 1.0)
    for _ in range(4):
        history = history.add(torch.full((10,), 1.0))
    assert history.band((0.2, 0.8)) == Band(1.0, 1.0)


def test_pair_band_by_hand():
    band = pair_band(torch.tensor([0.5, 0.7]), torch.tensor([0.0, 0.2]), upper_scale=0.4)
    assert band.lower == pytest.approx(0.1)
    assert band.upper == pytest.approx(0.1 + 0.4 * 0.5)
    assert band.width == pytest.approx(0.2)


def test_unlikely_clean_sides_do_not_pull_the_lower_edge_below_zero():
    band = pair_band(torch.tensor([0.1]), torch.tensor([-0.3]), upper_scale=0.5)
    assert (band.lower, band.upper) == (0.0, pytest.approx(0.05))


def test_without_the_bound_the_band_goes_from_the_mean_of_the_clean_to_the_mean_of_the_hack_sides():
    hack, clean = torch.tensor([0.1, 0.3]), torch.tensor([-0.3, -0.1])
    band = pair_band(hack, clean, upper_scale=1.0, at_least_0=False)
    assert (band.lower, band.upper) == (pytest.approx(-0.2), pytest.approx(0.2))


def test_a_failure_is_not_routed_where_only_rewarded_rollouts_are():
    labels = [GateLabel.HACK, GateLabel.HACK, GateLabel.MID, GateLabel.CLEAN]
    assert only_rewarded(labels, [True, False, False, False]) == [GateLabel.HACK, GateLabel.CLEAN, GateLabel.MID, GateLabel.CLEAN]


@given(
    st.lists(st.tuples(scores, st.booleans()), min_size=1, max_size=10, unique_by=lambda one: one[0]),
    st.tuples(st.integers(0, 10), st.integers(0, 10), st.integers(1, 10)),
)
def test_shares_among_the_rewarded_are_the_pairs_rule_at_other_edges(cases, parts):
    """Hack is met as far as rewarded rollouts go and mid always; where failures leave room, a band gives these very labels."""
    values, rewarded = torch.tensor([score for score, _ in cases]), [paid for _, paid in cases]
    shares = tuple(p / sum(parts) for p in parts)
    free, labels = (label_by_fractions(values, shares, who) for who in (None, rewarded))
    assert label_by_fractions(values, shares, [True] * len(cases)) == free
    assert labels.count(GateLabel.HACK) == min(free.count(GateLabel.HACK), sum(rewarded))
    assert labels.count(GateLabel.MID) == free.count(GateLabel.MID)
    assert all(paid for x, paid in zip(labels, rewarded, strict=True) if x is GateLabel.HACK)
    hacks = [v for v, x in zip(values.tolist(), labels, strict=True) if x is GateLabel.HACK]
    failures = sum(not paid for v, paid in zip(values.tolist(), rewarded, strict=True) if hacks and v > min(hacks))
    if failures <= labels.count(GateLabel.CLEAN):
        ranked = sorted(values.double().tolist())
        edges = [-2.0, *((a + b) / 2 for a, b in pairwise(ranked)), 2.0]
        bands = [Band(lower, upper) for lower in edges for upper in edges if lower <= upper]
        assert any(only_rewarded(label(values, band), rewarded) == labels for band in bands)


def test_a_placebo_of_a_run_that_routes_the_rewarded_routes_none_else():
    score_G, rewarded = torch.tensor([0.4, 0.3, 0.2, 0.1]), [False, True, False, True]
    every, paid = MatchedGate(fractions=(0.5, 0.0, 0.5)), MatchedGate(fractions=(0.5, 0.0, 0.5), route="rewarded")
    for gate, expected in ((every, "hack hack clean clean"), (paid, "clean hack clean hack")):
        labels = Router(gate, 0, PairTokens((), [], [])).label(score_G, rewarded, 0)
        assert " ".join(labels) == expected
