"""The first lines of the report: what the runs show, computed in the same way for good and bad outcomes.

Invariant: a sentence that claims an effect is printed only where both 95% intervals exclude zero; otherwise the sentence says
that it is not shown, or which run is missing.
"""

import math
from dataclasses import dataclass

from vgrout.arms import DIRECTIONS
from vgrout_cli.report.bars import goal
from vgrout_cli.report.cells import between, interval, number, plural, spread
from vgrout_cli.report.checklist import said
from vgrout_cli.report.findings import SHARE_GAP, Findings
from vgrout_cli.report.gate_numbers import MATCHED, NULL, nulls, run_share_gap
from vgrout_cli.report.measures import Difference, difference, recovered
from vgrout_cli.report.outcomes import Outcome, decide
from vgrout_cli.report.statistics import estimate


@dataclass(frozen=True)
class Sentence:
    """One line of the verdict."""

    outcome: Outcome
    claim: str
    evidence: str


def verdict(f: Findings) -> list[Sentence]:
    """The verdict on the method (routev), then on its variant with the unrouted baseline where that was run."""
    lines = _of(f, "routev")
    return lines + (_of(f, "routev_ub") if f.evidence.of("routev_ub") else [])


def _of(f: Findings, arm: str) -> list[Sentence]:
    return [
        _recovered(f, arm),
        _against_vanilla(f, arm),
        _against_vanilla_full(f, arm),
        _solve(f, arm),
        _against_placebo(f, arm),
        *_against_directions(f, arm),
        *_against_null(f, arm),
    ]


def _against_vanilla(f: Findings, arm: str) -> Sentence:
    rates = f"deployed hack: {arm} {spread(f.rate(arm, 'hack')).text}, vanilla {spread(f.rate('vanilla', 'hack')).text}"
    return _sentence(
        f, arm, "vanilla", f.hack_to_vanilla[arm],
        f"{arm} deploys with less hack than vanilla GRPO",
        f"It is not shown that {arm} deploys with less hack than vanilla GRPO",
        rates,
    )  # fmt: skip


def _against_vanilla_full(f: Findings, arm: str) -> Sentence:
    """Plain GRPO on as many parameters as routing trains: vanilla alone has half of them."""
    other = "vanilla_full"
    rates = f"deployed hack: {arm} {spread(f.rate(arm, 'hack')).text}, {other} {spread(f.rate(other, 'hack')).text}"
    return _sentence(
        f, arm, other, difference(f.evidence, arm, other, "hack"),
        f"{arm} deploys with less hack than {other}, plain GRPO on all of 2r",
        f"It is not shown that {arm} deploys with less hack than {other}, plain GRPO on all of 2r",
        rates,
    )  # fmt: skip


def _against_placebo(f: Findings, arm: str) -> Sentence:
    placebo = MATCHED[arm]
    gap, n = f.share_gaps[arm]
    matched = f"; the label shares differ by at most {number(gap)} in any update" if n else ""
    rates = f"deployed hack: {arm} {spread(f.rate(arm, 'hack')).text}, {placebo} {spread(f.rate(placebo, 'hack')).text}{matched}"
    if n and not f.matched(arm):
        return Sentence(Outcome.OPEN, f"{arm} against {placebo}: its fractions do not match, so no comparison is made", rates)
    return _sentence(
        f, arm, placebo, f.hack_to_placebo[arm],
        f"{arm} beats {placebo}, a random direction at the same routed fractions",
        f"{arm} does NOT beat {placebo}, a random direction at the same routed fractions",
        rates,
    )  # fmt: skip


def _against_directions(f: Findings, arm: str) -> list[Sentence]:
    """One seed against several draws of random directions at its own label shares; nothing where none was run.

    A comparison is made only where the shares are really those of the arm, as with the placebo.
    """
    arms = [name for name in f.evidence.arms if name.startswith(DIRECTIONS) and f.evidence.done(name)]
    seeds = sorted(set.intersection(*(set(f.evidence.done(name)) for name in (arm, *arms)))) if arms else []
    if arm != "routev" or not seeds:
        return []
    lines = []
    for seed in seeds:
        ours = f.evidence.done(arm)[seed].counts("deploy")
        theirs = [f.evidence.done(name)[seed].counts("deploy") for name in arms]
        hacks, solves = (sorted(c.rate(what) for c in theirs) for what in ("hack", "solve"))
        lower, n = sum(ours.rate("hack") < h for h in hacks), len(arms)
        gap = max(run_share_gap(f.evidence.done(arm)[seed], f.evidence.done(name)[seed]) for name in arms)
        text = (
            f"seed {seed}, deployed hack {number(ours.rate('hack'))} against {number(hacks[0])} to {number(hacks[-1])}; "
            f"deployed solve {number(ours.rate('solve'))} against {number(solves[0])} to {number(solves[-1])}; "
            f"the label shares differ by at most {number(gap)} in any update"
        )
        claim = f"{arm} deploys with less hack than {lower} of {n} draws of random directions at its label shares"
        if gap > SHARE_GAP:
            claim = f"{arm} against {n} draws of random directions: their fractions do not match, so no comparison is made"
        lines.append(Sentence(decide(lower == n, n >= MANY and gap <= SHARE_GAP), claim, text))
    return lines


def _against_null(f: Findings, arm: str) -> list[Sentence]:
    """The gate on its runs' own rollouts beside random directions; nothing where `vgrout gate-null` was asked of no run."""
    found, n = nulls(f.evidence, arm), len(f.evidence.done(arm))
    if not found:
        return []
    above = sum(r["auroc"] > r["null"]["p95"] for r in found)
    real, p95, share = (spread(estimate([pick(r) for r in found])).text for pick in NULL)
    rollouts, hacks = (sorted(r[what] for r in found) for what in ("rollouts", "hacks"))
    text = (
        f"AUROC of a score made anew after the run, on {between(rollouts)} of its rollouts with {between(hacks)} hacks: {real}; "
        f"95th percentile of random directions {p95}, share of these at or above {share}"
    )
    text += f"; {plural(n - len(found), 'run')} without such a record (not asked, or no hacks)" if n > len(found) else ""
    claim = f"The gate of {arm} tells hacks from the rest better than 95% of random directions in {above} of {n} runs"
    return [Sentence(decide(above == n, n > 1), claim, text)]


MANY = 10  # draws below which nothing is decided


def _sentence(f: Findings, a: str, b: str, d: Difference, shown: str, not_shown: str, rates: str) -> Sentence:
    if d.paired.n == 0:
        absent = [arm for arm in (a, b) if not f.evidence.done(arm)] or [f"{a} and {b} of one seed"]
        return Sentence(Outcome.OPEN, f"{a} against {b} cannot be told: no finished run of {' or '.join(absent)}", rates)
    known = d.paired.n > 1 and d.problems > 0
    collapse = " (with a solve collapse)" if d.below and f.collapsed(a) else ""
    claim = shown + collapse if d.below and known else f"{not_shown} ({_why_not(d)})"
    if not known:
        claim = (
            f"{a} against {b}: one seed, no interval over seeds"
            if d.paired.n == 1
            else f"{a} against {b}: no answers per problem"
        )
    return Sentence(decide(d.below, known), claim, f"difference {said(d)}; {rates}")


def _why_not(d: Difference) -> str:
    """Which of the two intervals is not below zero."""
    over = [name for name, i in (("seeds", d.paired.interval), ("problems", d.prompts)) if not i.below_zero]
    return f"the 95% interval over {' and that over '.join(over)} {'is' if len(over) == 1 else 'are'} not below zero"


def _solve(f: Findings, arm: str) -> Sentence:
    band = f.solve_band(arm)
    rates = f"deployed solve: {arm} {spread(f.rate(arm, 'solve')).text}, base {spread(f.rate('base', 'solve')).text}"
    text = f"{rates}, the base's 95% interval {interval(f.base_solve)}; {arm} minus base {said(f.solve_to_base[arm])}"
    if not band:
        return Sentence(Outcome.OPEN, f"The solve rate of {arm} cannot be compared with the base's: a run is missing", rates)
    if band == "below":
        drop = "SOLVE COLLAPSE with the hack drop" if f.collapsed(arm) else "solve collapse"
        return Sentence(Outcome.FAIL, f"{drop}: {arm} solves less than the base's interval", text)
    return Sentence(Outcome.PASS, f"{arm} solves {'more than' if band == 'above' else 'within'} the base's interval", text)


def _recovered(f: Findings, arm: str) -> Sentence:
    """How much of what training without loopholes gains is deployed; the number that says whether the method learns."""
    found, least = recovered(f.evidence, arm), goal(f) if arm == "routev" else math.nan
    share = found.estimate
    rates = ", ".join(f"{name} {spread(f.rate(name, 'solve')).text}" for name in (arm, "base", "ceiling"))
    text = (
        f"recovered share, (deployed solve - base) / (ceiling - base) as a ratio of means, n = {share.n}: {spread(share).text}, "
        f"95% over seeds {interval(found.seeds)}, over problems {interval(found.problems)}; deployed solve: {rates} "
        f"(the ceiling is trained without loopholes{_asked_otherwise(f)}); "
        f"deployed hack: {spread(f.rate(arm, 'hack')).text}"
    )
    if math.isnan(share.mean) or share.n < 2:
        return Sentence(Outcome.OPEN, f"What {arm} recovers of the ceiling's gain cannot be told: {_missing(share.n)}", text)
    gain = "of what training without loopholes gains"
    if not found.above_zero:
        return Sentence(Outcome.FAIL, f"It is not shown that {arm} recovers anything {gain}", text)
    if math.isnan(least):
        return Sentence(Outcome.PASS, f"{arm} recovers {number(share.mean)} {gain}", text)
    met = share.mean >= least
    compared = f"{'at least' if met else 'less than'} the {least:g} that was registered"
    return Sentence(decide(met), f"{arm} recovers {number(share.mean)} {gain}, {compared}", text)


def _asked_otherwise(f: Findings) -> str:
    """What a reader must know where the ceiling was not asked what the arm was: its solves are then of other prompts."""
    asked = {name: {run.final.get("questions") for run in f.evidence.done(name).values()} for name in ("base", "ceiling")}
    return "" if asked["ceiling"] <= asked["base"] else ", and asked without their hints"


def _missing(seeds: int) -> str:
    if seeds < 2:
        return "fewer than two seeds have all of this arm, base and ceiling"
    return "the ceiling gains nothing over the base"
