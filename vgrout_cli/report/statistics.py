"""The report's statistics: means over seeds, paired tests, a paired bootstrap over problems, and a gate's discrimination.

Invariant: pure functions of numbers; every random choice comes from a seed that is passed in. Nothing here knows runs.
Sources: Student's t by the regularised incomplete beta (Press et al., Numerical Recipes, 6.4); percentile bootstrap
(Efron and Tibshirani 1993, 13.3); AUROC as the Mann-Whitney statistic with ties counted half.
Shapes: S seeds, P problems, B bootstrap draws.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

LEVEL = 0.95
DRAWS = 10_000
NAN = float("nan")


@dataclass(frozen=True)
class Estimate:
    """A mean over n seeds with its standard error (NaN below two seeds)."""

    mean: float
    sem: float
    n: int


@dataclass(frozen=True)
class Interval:
    """A two-sided interval at LEVEL; NaN edges where it is not defined."""

    low: float
    high: float

    @property
    def below_zero(self) -> bool:
        """Whether all of it is below zero (False where it is not defined)."""
        return self.high < 0

    @property
    def above_zero(self) -> bool:
        """Whether all of it is above zero (False where it is not defined)."""
        return self.low > 0


@dataclass(frozen=True)
class Paired:
    """Differences of matched seeds: mean, SEM, the t interval and p, and the exact sign-flip p."""

    difference: float
    sem: float
    n: int
    interval: Interval
    p_t: float
    p_flip: float


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and SEM (sample standard deviation over root n)."""
    n = len(values)
    if n == 0:
        return Estimate(NAN, NAN, 0)
    return Estimate(float(np.mean(values)), float(np.std(values, ddof=1) / math.sqrt(n)) if n > 1 else NAN, n)


def known(values: Sequence[float]) -> Estimate:
    """The estimate over the values that are defined."""
    return estimate([v for v in values if not math.isnan(v)])


def paired(a: Sequence[float], b: Sequence[float]) -> Paired:
    """Test a - b over seeds: `a[i]` and `b[i]` are of the same seed. Raises ValueError for unequal lengths.

    Below two seeds the interval and both p are NaN. Where all differences are equal the t interval is that point.
    """
    differences = [x - y for x, y in zip(a, b, strict=True)]
    mean = estimate(differences)
    if mean.n < 2:
        return Paired(mean.mean, mean.sem, mean.n, Interval(NAN, NAN), NAN, NAN)
    half = t_quantile(0.5 + LEVEL / 2, mean.n - 1) * mean.sem
    p = two_sided_p(mean.mean / mean.sem, mean.n - 1) if mean.sem > 0 else float(mean.mean == 0)
    return Paired(mean.mean, mean.sem, mean.n, Interval(mean.mean - half, mean.mean + half), p, sign_flip_p(differences))


def ratio_of_means(a: Sequence[float], b: Sequence[float]) -> tuple[Estimate, Interval]:
    """mean(a) / mean(b) over seeds, with the jackknife's SEM (each seed left out once) and its 95% t interval.

    Not the mean of ratios: a seed with a small b would decide it. NaN where mean(b) is not above 0; the SEM below two seeds.
    """
    n = len(a)
    if n == 0 or sum(b) <= 0:
        return Estimate(NAN, NAN, n), Interval(NAN, NAN)
    ratio = sum(a) / sum(b)
    if n == 1:
        return Estimate(ratio, NAN, 1), Interval(NAN, NAN)
    without = [(sum(a) - x) / (sum(b) - y) if sum(b) > y else NAN for x, y in zip(a, b, strict=True)]
    sem = math.sqrt((n - 1) / n * sum((value - sum(without) / n) ** 2 for value in without))
    half = t_quantile(0.5 + LEVEL / 2, n - 1) * sem
    return Estimate(ratio, sem, n), Interval(ratio - half, ratio + half)


def sign_flip_p(differences: Sequence[float]) -> float:
    """Exact two-sided p of the mean under all 2^n flips of sign; its smallest value is 2 / 2^n.

    Raises ValueError above 20 differences.
    """
    n = len(differences)
    if n > 20:
        raise ValueError(f"{n} differences: at most 20 are enumerated")
    d = np.asarray(differences, float)
    bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    sums = np.abs((1 - 2 * bits) @ d)
    return float(np.mean(sums >= abs(d.sum()) - 1e-12 * max(1.0, np.abs(d).sum())))


def bootstrap_rate(hits_SP: np.ndarray, counts_SP: np.ndarray, seed: int, draws: int = DRAWS) -> Interval:
    """Percentile interval of a rate (mean over seeds of hits / counts), problems drawn with replacement."""
    return _percentiles(_rates_B(hits_SP, counts_SP, _weights_BP(hits_SP.shape[1], seed, draws)))


def bootstrap_difference(
    hits_a_SP: np.ndarray, counts_a_SP: np.ndarray, hits_b_SP: np.ndarray, counts_b_SP: np.ndarray, seed: int, draws: int = DRAWS
) -> Interval:
    """Percentile interval of rate a - rate b: each draw takes the same problems for both arms and all seeds.

    The seeds are fixed: this interval speaks of other problems, not of other seeds.
    """
    weights_BP = _weights_BP(hits_a_SP.shape[1], seed, draws)
    return _percentiles(_rates_B(hits_a_SP, counts_a_SP, weights_BP) - _rates_B(hits_b_SP, counts_b_SP, weights_BP))


def bootstrap_share(
    ours_SP: tuple[np.ndarray, np.ndarray], base_SP: tuple[np.ndarray, np.ndarray], top_SP: tuple[np.ndarray, np.ndarray],
    seed: int, draws: int = DRAWS,
) -> Interval:  # fmt: skip
    """Percentile interval of (ours - base) / (top - base), each given as (hits, counts); the same problems for all three.

    Draws whose denominator is not above 0 are left out; NaN edges where they are more than 1 in 40: the interval has no end.
    """
    weights_BP = _weights_BP(ours_SP[0].shape[1], seed, draws)
    ours_B, base_B, top_B = (_rates_B(hits, counts, weights_BP) for hits, counts in (ours_SP, base_SP, top_SP))
    gain_B = top_B - base_B
    kept = gain_B > 0
    if kept.mean() < 1 - (1 - LEVEL) / 2:
        return Interval(NAN, NAN)
    return _percentiles((ours_B - base_B)[kept] / gain_B[kept])


@lru_cache(maxsize=4)
def _weights_BP(problems: int, seed: int, draws: int) -> np.ndarray:
    """How often each draw takes each problem."""
    return np.random.default_rng(seed).multinomial(problems, np.full(problems, 1 / problems), size=draws).astype(float)


def _rates_B(hits_SP: np.ndarray, counts_SP: np.ndarray, weights_BP: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        rates_BS = (weights_BP @ hits_SP.T) / (weights_BP @ counts_SP.T)
    return rates_BS.mean(axis=1)


def _percentiles(values_B: np.ndarray) -> Interval:
    kept = values_B[np.isfinite(values_B)]  # a draw can miss every problem of a rare mode
    if not len(kept):
        return Interval(NAN, NAN)
    low, high = np.quantile(kept, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def auroc(scores: Sequence[float] | np.ndarray, positive: Sequence[bool] | np.ndarray) -> float:
    """Chance that a positive scores above a negative, ties counted half; NaN where one side is empty."""
    score, truth = np.asarray(scores, float), np.asarray(positive, bool)
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        return NAN
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[place]  # mean rank of ties, from 1
    return float((rank[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def f_beta(
    predicted: Sequence[bool] | np.ndarray, actual: Sequence[bool] | np.ndarray, beta: float = 0.5
) -> tuple[float, float, float]:
    """(precision, recall, F_beta); NaN where the denominator is 0."""
    guess, truth = np.asarray(predicted, bool), np.asarray(actual, bool)
    both = int((guess & truth).sum())
    precision = both / int(guess.sum()) if guess.any() else NAN
    recall = both / int(truth.sum()) if truth.any() else NAN
    bottom = beta**2 * int(truth.sum()) + int(guess.sum())
    return precision, recall, (1 + beta**2) * both / bottom if bottom else NAN


def two_sided_p(t: float, df: float) -> float:
    """P(|T| >= |t|) of Student's t with df degrees of freedom."""
    return incomplete_beta(df / 2, 0.5, df / (df + t * t))


def t_cdf(t: float, df: float) -> float:
    """P(T <= t) of Student's t with df degrees of freedom."""
    tail = 0.5 * two_sided_p(t, df)
    return 1 - tail if t >= 0 else tail


def t_quantile(p: float, df: float) -> float:
    """The t with P(T <= t) = p, for 0.5 <= p < 1, by bisection."""
    low, high = 0.0, 1.0
    while t_cdf(high, df) < p:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if t_cdf(middle, df) < p else (low, middle)
    return (low + high) / 2


def incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b) for 0 <= x <= 1."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):  # the continued fraction converges fast on the other side
        return 1 - incomplete_beta(b, a, 1 - x)
    front = math.exp(a * math.log(x) + b * math.log1p(-x) - math.lgamma(a) - math.lgamma(b) + math.lgamma(a + b)) / a
    c, d, total = 1.0, 0.0, 1.0
    for step in range(500):  # Lentz
        m = step // 2
        if step == 0:
            term = 1.0
        elif step % 2 == 0:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        else:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1 / _nonzero(1 + term * d)
        c = _nonzero(1 + term / c)
        total *= c * d
        if step and abs(c * d - 1) < 1e-15:
            break
    return front * (total - 1)


def _nonzero(value: float) -> float:
    return value if abs(value) > 1e-300 else 1e-300
