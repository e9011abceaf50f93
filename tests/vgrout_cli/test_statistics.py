"""Statistics against tables, hand-computed values, enumeration and brute force."""

import itertools
import math
import statistics as stdlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vgrout_cli.report.statistics import (
    auroc,
    bootstrap_difference,
    bootstrap_rate,
    bootstrap_share,
    estimate,
    f_beta,
    incomplete_beta,
    paired,
    ratio_of_means,
    sign_flip_p,
    t_cdf,
    t_quantile,
)

# Student's t, upper 2.5% points, as printed in tables.
TABLE = {1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 9: 2.2622, 30: 2.0423, 120: 1.9799}
# Student (1908), additional sleep under two drugs. t.test of R: t = 4.0621, p = 0.002833, [0.7001142, 2.4598858].
SLEEP_A = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
SLEEP_B = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
timeless = settings(deadline=None)  # a busy machine is no fault
few = st.lists(st.integers(-20, 20), min_size=2, max_size=8)


@pytest.mark.parametrize(("df", "value"), TABLE.items())
def test_t_quantiles_are_those_of_the_tables(df, value):
    assert t_quantile(0.975, df) == pytest.approx(value, abs=6e-5)


@pytest.mark.parametrize("df", [1, 2, 4, 7, 30])
@pytest.mark.parametrize("t", [-3.0, -0.4, 0.0, 1.3, 6.0])
def test_t_cdf_is_the_integral_of_its_density(df, t):
    x = np.linspace(0, abs(t), 20001)
    density = (1 + x * x / df) ** (-(df + 1) / 2)
    scale = math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(df * math.pi)
    half = scale * float(np.trapezoid(density, x))
    assert t_cdf(t, df) == pytest.approx(0.5 + math.copysign(half, t), abs=1e-8)


@timeless
@given(st.integers(1, 8), st.integers(1, 8), st.floats(0, 1))
def test_incomplete_beta_of_whole_numbers_is_a_binomial_tail(a, b, x):
    n = a + b - 1
    tail = sum(math.comb(n, k) * x**k * (1 - x) ** (n - k) for k in range(a, n + 1))
    assert incomplete_beta(a, b, x) == pytest.approx(tail, abs=1e-12)


def test_over_a_constant_a_ratio_of_means_is_a_scaled_mean_with_its_t_interval():
    (ratio, over_seeds), mean = ratio_of_means(SLEEP_A, [4.0] * 10), estimate(SLEEP_A)
    assert (ratio.mean, ratio.sem, ratio.n) == (pytest.approx(mean.mean / 4), pytest.approx(mean.sem / 4), 10)
    assert over_seeds.high - ratio.mean == pytest.approx(2.2622 * mean.sem / 4, rel=1e-4)


def test_a_ratio_of_means_that_is_not_defined_is_nan():
    for a, b in (([], []), ([1.0, 2.0], [1.0, -1.0]), ([1.0], [0.0])):
        assert math.isnan(ratio_of_means(a, b)[0].mean)
    one, over_seeds = ratio_of_means([1.0], [2.0])
    assert one.mean == 0.5 and math.isnan(one.sem) and math.isnan(over_seeds.low)


def test_the_jackknife_covers_the_ratio_it_is_of():
    """Drawn seeds of a known ratio: the 95% interval misses it in about one of twenty draws."""
    rng = np.random.default_rng(0)
    missed = 0
    for _ in range(2000):
        b = rng.normal(0.15, 0.03, 5)
        _, over_seeds = ratio_of_means(list(0.6 * b + rng.normal(0, 0.02, 5)), list(b))
        missed += not over_seeds.low <= 0.6 <= over_seeds.high
    assert 0.02 <= missed / 2000 <= 0.09


def test_paired_t_is_students_own_example():
    found = paired(SLEEP_A, SLEEP_B)
    assert found.difference / found.sem == pytest.approx(4.0621, abs=1e-4)
    assert found.p_t == pytest.approx(0.002833, abs=1e-6)
    assert (found.interval.low, found.interval.high) == pytest.approx((0.7001142, 2.4598858), abs=1e-6)
    assert found.interval.above_zero and not found.interval.below_zero


@timeless
@given(few)
def test_sign_flip_p_is_that_of_all_flips(differences):
    flips = list(itertools.product((-1, 1), repeat=len(differences)))
    extreme = sum(abs(sum(s * d for s, d in zip(f, differences, strict=True))) >= abs(sum(differences)) for f in flips)
    assert sign_flip_p(differences) == extreme / len(flips)


def test_five_equal_signs_give_the_smallest_p_of_five_seeds():
    assert sign_flip_p([-0.3, -0.2, -0.9, -0.4, -0.5]) == 2 / 32
    with pytest.raises(ValueError, match="21 differences"):
        sign_flip_p([1.0] * 21)


def test_one_seed_has_no_interval_and_none_has_no_mean():
    one = paired([0.2], [0.9])
    assert one.difference == pytest.approx(-0.7)
    assert math.isnan(one.interval.low)
    assert not one.interval.below_zero
    assert math.isnan(estimate([]).mean) and math.isnan(estimate([0.5]).sem)
    with pytest.raises(ValueError):
        paired([1.0, 2.0], [1.0])


@timeless
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=9))
def test_sem_is_the_sample_deviation_over_root_n(values):
    found = estimate(values)
    assert found.mean == pytest.approx(stdlib.fmean(values), abs=1e-12)
    assert found.sem == pytest.approx(stdlib.stdev(values) / math.sqrt(len(values)), abs=1e-9)


@timeless
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=30))
def test_auroc_counts_pairs_and_half_of_the_ties(rows):
    above = [s for s, hit in rows if hit]
    below = [s for s, hit in rows if not hit]
    found = auroc([s for s, _ in rows], [hit for _, hit in rows])
    if not above or not below:
        assert math.isnan(found)
    else:
        won = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a in above for b in below)
        assert found == pytest.approx(won / (len(above) * len(below)))


def test_f_half_weighs_precision_twice():
    guess, truth = [True, True, True, False, False], [True, True, False, True, True]
    precision, recall, f = f_beta(guess, truth)
    assert (precision, recall) == (pytest.approx(2 / 3), pytest.approx(1 / 2))
    assert f == pytest.approx(1.25 * precision * recall / (0.25 * precision + recall))
    assert math.isnan(f_beta([False], [True])[0]) and f_beta([False], [True])[2] == 0


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 1000))
def test_bootstrap_interval_is_that_of_all_resamples(seed):
    """Five problems have 5^5 resamples: the percentiles of all of them, within the error of the draws."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(2, 5, size=(2, 5)).astype(float)
    a, b = (np.floor(rng.random((2, 5)) * (counts + 1)) for _ in range(2))
    every = []
    for drawn in itertools.product(range(5), repeat=5):
        rates = [np.mean([h[s, list(drawn)].sum() / counts[s, list(drawn)].sum() for s in range(2)]) for h in (a, b)]
        every.append(rates[0] - rates[1])
    found = bootstrap_difference(a, counts, b, counts, seed=seed, draws=40_000)
    around = [np.quantile(every, q) for q in (0.02, 0.03, 0.97, 0.98)]
    assert around[0] <= found.low <= around[1] and around[2] <= found.high <= around[3]


def test_bootstrap_of_a_share_is_that_of_all_resamples_and_is_not_given_where_its_denominator_may_vanish():
    """(ours - base) / (top - base) over all 5^5 resamples of five problems, within the error of the draws."""
    counts = np.full((2, 5), 4.0)
    base, ours, top = (np.array([row, row[::-1]], float) for row in ([0, 1, 0, 1, 0], [2, 1, 2, 3, 1], [4, 3, 3, 4, 2]))
    every = []
    for drawn in itertools.product(range(5), repeat=5):
        low, mine, high = (h[:, list(drawn)].mean() for h in (base, ours, top))
        every.append((mine - low) / (high - low))
    found = bootstrap_share((ours, counts), (base, counts), (top, counts), seed=7, draws=40_000)
    around = [np.quantile(every, q) for q in (0.02, 0.03, 0.97, 0.98)]
    assert around[0] - 1e-9 <= found.low <= around[1] + 1e-9 and around[2] - 1e-9 <= found.high <= around[3] + 1e-9
    assert math.isnan(bootstrap_share((ours, counts), (base, counts), (base, counts), seed=7).low)


def test_bootstrap_of_many_problems_is_the_normal_interval():
    rng = np.random.default_rng(1)
    hits = (rng.random((1, 500)) < 0.3).astype(float)
    found = bootstrap_rate(hits, np.ones_like(hits), seed=3)
    half = 1.96 * math.sqrt(hits.mean() * (1 - hits.mean()) / 500)
    assert (found.low, found.high) == pytest.approx((hits.mean() - half, hits.mean() + half), abs=0.003)


def test_bootstrap_is_paired_and_leaves_out_draws_without_a_problem_of_the_mode():
    hits = np.array([[2.0, 0.0, 1.0, 2.0]])
    counts = np.array([[2.0, 2.0, 2.0, 2.0]])
    same = bootstrap_difference(hits, counts, hits, counts, seed=0)
    assert (same.low, same.high) == (0, 0)
    rare = bootstrap_rate(np.array([[1.0, 0.0, 0.0]]), np.array([[2.0, 0.0, 0.0]]), seed=0)
    assert (rare.low, rare.high) == (0.5, 0.5)
