"""Rates of arms and differences of arms over matched seeds and matched problems: every number of the tables comes from here.

Invariant: only finished runs count; a difference is taken between runs of the same seed, and its bootstrap between answers to
the same problem under the same seed. A rate is that of the deployed policy unless another is named.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vgrout.seeds import stream
from vgrout_cli.report import statistics
from vgrout_cli.report.evidence import Run
from vgrout_cli.report.sources import Evidence
from vgrout_cli.report.statistics import Estimate, Interval, Paired

ALL = ("all",)
BOOTSTRAP_SEED = stream(0, "report", "bootstrap")


@dataclass(frozen=True)
class Difference:
    """Arm a minus arm b: over seeds (`paired`) and over problems (`prompts`, with the number of problems drawn from)."""

    a: str
    b: str
    what: str
    paired: Paired
    prompts: Interval
    problems: int

    @property
    def below(self) -> bool:
        """Both 95% intervals, over seeds and over problems, lie below zero."""
        return self.paired.interval.below_zero and self.prompts.below_zero

    @property
    def above(self) -> bool:
        """Both 95% intervals lie above zero."""
        return self.paired.interval.above_zero and self.prompts.above_zero


NONE = Difference("", "", "", statistics.paired([], []), Interval(math.nan, math.nan), 0)


def rate(evidence: Evidence, arm: str, what: str, policy: str = "deploy", modes: Sequence[str] = ALL) -> Estimate:
    """Mean over the finished seeds of an arm; n = 0 and NaN where there is none.

    The base is asked the same whatever the seed and answers the same: such runs are one measurement, without a spread over seeds.
    """
    runs = evidence.done(arm)
    rates = [runs[seed].counts(policy, tuple(modes)).rate(what) for seed in sorted(runs)]
    same = arm == "base" and len({json.dumps(run.final.get(policy), sort_keys=True) for run in runs.values()}) == 1
    return statistics.estimate(rates[:1] if same else rates)


def truncation(evidence: Evidence, arm: str, policy: str = "deploy") -> Estimate:
    """Share of evaluated completions that ended by length."""
    runs = evidence.done(arm)
    return statistics.estimate([runs[seed].truncated(policy) for seed in sorted(runs)])


def difference(evidence: Evidence, a: str, b: str, what: str, policy: str = "deploy", modes: Sequence[str] = ALL) -> Difference:
    """Arm a minus arm b on their common finished seeds."""
    ours, theirs = evidence.done(a), evidence.done(b)
    seeds = sorted(set(ours) & set(theirs))
    x, y = ([runs[s].counts(policy, tuple(modes)).rate(what) for s in seeds] for runs in (ours, theirs))
    pairs = [(ours[s], theirs[s]) for s in seeds]
    interval, problems = _over_problems(pairs, what, policy, modes)
    return Difference(a, b, what, statistics.paired(x, y), interval, problems)


@dataclass(frozen=True)
class Share:
    """A recovered share: its estimate over seeds, and the intervals over seeds and over problems."""

    estimate: Estimate
    seeds: Interval
    problems: Interval

    @property
    def above_zero(self) -> bool:
        """Both intervals lie above zero."""
        return self.seeds.above_zero and self.problems.above_zero


def recovered(evidence: Evidence, arm: str) -> Share:
    """The share of what training without loopholes gains that an arm deploys: (arm - base) / (ceiling - base) in deployed solve,
    as a ratio of means over the seeds that have all three. The seeds are fixed in the interval over problems, and the other way
    around."""
    runs = [evidence.done(name) for name in (arm, "base", "ceiling")]
    seeds = sorted(set.intersection(*map(set, runs)))
    ours, base, ceiling = ([r[seed].counts("deploy").rate("solve") for seed in seeds] for r in runs)
    gained = [x - y for x, y in zip(ours, base, strict=True)]
    estimate, over_seeds = statistics.ratio_of_means(gained, [x - y for x, y in zip(ceiling, base, strict=True)])
    used = [[r[seed] for seed in seeds] for r in runs]
    every = [run for some in used for run in some]
    problems = _common(every, "deploy", ALL) if every and all(run.answers for run in every) else []
    if not problems:
        return Share(estimate, over_seeds, Interval(math.nan, math.nan))
    arm_SP, base_SP, top_SP = (_matrix(some, "solve", "deploy", ALL, problems) for some in used)
    return Share(estimate, over_seeds, statistics.bootstrap_share(arm_SP, base_SP, top_SP, BOOTSTRAP_SEED))


def base_interval(evidence: Evidence, what: str) -> Interval:
    """95% interval of the base's rate over problems (seeds averaged); by binomial SEM where no answers are kept."""
    runs = [evidence.done("base")[s] for s in sorted(evidence.done("base"))]
    if not runs:
        return Interval(math.nan, math.nan)
    if all(run.answers for run in runs):
        hits_SP, counts_SP = _matrix(runs, what, "deploy", ALL, _common(runs, "deploy", ALL))
        return statistics.bootstrap_rate(hits_SP, counts_SP, BOOTSTRAP_SEED)
    counts = runs[0].counts("deploy")
    return Interval(*(counts.rate(what) + sign * 1.96 * counts.sem(what) for sign in (-1, 1)))


def _over_problems(pairs: list[tuple[Run, Run]], what: str, policy: str, modes: Sequence[str]) -> tuple[Interval, int]:
    runs = [run for pair in pairs for run in pair]
    if not runs or not all(run.answers for run in runs):
        return Interval(math.nan, math.nan), 0
    problems = _common(runs, policy, modes)
    if not problems:
        return Interval(math.nan, math.nan), 0
    ours = _matrix([a for a, _ in pairs], what, policy, modes, problems)
    theirs = _matrix([b for _, b in pairs], what, policy, modes, problems)
    return statistics.bootstrap_difference(*ours, *theirs, BOOTSTRAP_SEED), len(problems)


def _common(runs: list[Run], policy: str, modes: Sequence[str]) -> list[int]:
    """Problems that every run answered (in a mode that counts, under at least one seed)."""
    everywhere = set.intersection(*(set(run.answers[policy]) for run in runs))
    return sorted(i for i in everywhere if any(_counts(run.answers[policy][i].mode, modes) for run in runs))


def _counts(mode: str, modes: Sequence[str]) -> bool:
    return "all" in modes or mode in modes


def _matrix(runs: list[Run], what: str, policy: str, modes: Sequence[str], problems: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """(hits [S, P], counts [S, P]) of runs in seed order."""
    hits, counts = np.zeros((len(runs), len(problems))), np.zeros((len(runs), len(problems)))
    for s, run in enumerate(runs):
        for p, i in enumerate(problems):
            answer = run.answers[policy][i]
            if _counts(answer.mode, modes):
                hits[s, p], counts[s, p] = getattr(answer, what), answer.n
    return hits, counts
