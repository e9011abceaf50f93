"""The report's figures: each panel draws one question on one axis from the evidence and returns whether it had anything to draw.

Invariant: a mean line is drawn only at updates that every finished seed of the arm has; thin lines are single seeds, a band is
± 1 SEM over seeds; nothing is interpolated over a missing run. Looks come from vgrout_cli.report.style.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle

from matplotlib.axes import Axes

from vgrout.arms import DIRECTIONS
from vgrout_cli.report import measures, statistics
from vgrout_cli.report.evidence import Run
from vgrout_cli.report.sources import Evidence
from vgrout_cli.report.statistics import Estimate
from vgrout_cli.report.style import LOOKS, look, rates

Draw = Callable[[Axes, Evidence], bool | str]  # draws on one axis; returns whether there was anything to draw, or why not


@dataclass(frozen=True)
class Panel:
    """One figure: its file name, its section, its caption (also the text for those who cannot see it), its drawing."""

    name: str
    section: str
    caption: str
    draw: Draw


def over_seeds(series: list[dict[int, float]]) -> dict[int, Estimate]:
    """Mean and SEM at every x that all series have, NaN left out."""
    shared = set.intersection(*(set(s) for s in series)) if series else set()
    points = {x: [s[x] for s in series] for x in sorted(shared)}
    return {x: statistics.estimate(v) for x, v in points.items() if not any(map(math.isnan, v))}


def line(
    axis: Axes,
    series: list[dict[int, float]],
    arm: str,
    label: str,
    *,
    dash: str = "",
    seeds: bool = True,
    open_marker: bool = False,
) -> bool:
    """Draw the mean over seeds with its band, and each seed thinly. Returns whether there was a point."""
    points = over_seeds(series)
    if not points:
        return False
    style, x = look(arm), list(points)
    mean = [p.mean for p in points.values()]
    marker, fill = style.marker if len(x) <= 12 else "", "white" if open_marker else style.light
    axis.plot(x, mean, dash or style.dash, marker=marker, markerfacecolor=fill, color=style.light, label=label)
    if len(series) > 1:
        sem = [p.sem for p in points.values()]
        low, high = ([m + sign * s for m, s in zip(mean, sem, strict=True)] for sign in (-1, 1))
        axis.fill_between(x, low, high, color=style.light, alpha=0.18, linewidth=0)
        for one in series if seeds else []:
            axis.plot(list(one), list(one.values()), "-", color=style.light, linewidth=0.6, alpha=0.5)
    return True


def curve(run: Run, policy: str, what: str) -> dict[int, float]:
    """A rate at every evaluated checkpoint."""
    return {r["update"]: r[policy]["all"][f"{what}_rate"] for r in run.curve}


def outcome(what: str, *, long: bool = False) -> Draw:
    """A1 and A4: deployed hack or solve over updates, routev against plain GRPO on r and on all of 2r, and routev as trained."""

    def draw(axis: Axes, evidence: Evidence) -> bool:
        drawn = False
        deployed = [(arm, "deploy", "-") for arm in ("vanilla", "vanilla_full", "routev")]
        for arm, policy, dash in (*deployed, ("routev", "train", "--")):
            runs = [r for r in evidence.long if r.arm == arm and r.final] if long else list(evidence.done(arm).values())
            label = f"{arm}, {'deployed' if policy == 'deploy' else 'as trained'} (n = {len(runs)})"
            drawn |= line(
                axis,
                [curve(r, policy, what) for r in runs],
                arm,
                label,
                dash=dash,
                seeds=policy == "deploy",
                open_marker=policy == "train",
            )
        base = measures.rate(evidence, "base", what)
        if drawn and base.n:
            axis.axhline(base.mean, color=look("base").light, linestyle=":", linewidth=1.2, label="base")
        rates(axis, f"{what} rate, test split", "share of answers")
        if drawn:
            axis.legend(ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.2))
        return drawn

    return draw


def other_form(name: str, what: str) -> Draw:
    """A8: every arm's deployed rate at its last checkpoint, asked in another form (filled) and as usual (open)."""

    def draw(axis: Axes, evidence: Evidence) -> bool | str:
        rows = []
        for label, arm, runs in _grouped(evidence):
            both = [(run.final, run.other_curves[name][-1]) for run in runs if run.other_curves.get(name)]
            told = [pair for pair in both if pair[0]["update"] == pair[1]["update"]]
            if told:
                usual, asked = (
                    statistics.estimate([record["deploy"]["all"][f"{what}_rate"] for record in records])
                    for records in zip(*told, strict=True)
                )
                rows.append((f"{label} ({len(told)})", [(usual, arm, "none"), (asked, arm, look(arm).light)]))
        beside(axis, rows, f"{what} rate, {name.replace('_', ' ')}", "share of answers; open: as usual")
        return bool(rows) or f"no finished run has eval_curve_{name}.jsonl"

    return draw


def comparators(axis: Axes, evidence: Evidence) -> bool | str:
    """A3: deployed hack (in vanilla's look) and solve (in routev's) of the arms that the scatter leaves out, and three of it."""
    rows, drawn = [], False
    for label, arm, runs in _grouped(evidence):
        drawn |= (other := arm not in LOOKS and not arm.startswith(DIRECTIONS))
        if other or arm in ("vanilla", "routev", "ceiling"):
            hack, solve = (
                statistics.estimate([r.final["deploy"]["all"][f"{what}_rate"] for r in runs]) for what in ("hack", "solve")
            )
            rows.append((f"{label} ({len(runs)})", [(hack, "vanilla", "none"), (solve, "routev", look("routev").light)]))
    beside(axis, rows if drawn else [], "deployed hack (open), solve", "share of answers")
    return drawn or "no finished run of another arm"


def beside(axis: Axes, rows: list[tuple[str, list[tuple[Estimate, str, str]]]], title: str, unit: str) -> None:
    """A row per label; each of its estimates is a point in an arm's look with a bar of ± 1 SEM, filled as said."""
    for y, (_, points) in enumerate(rows):
        for point, arm, fill in points:
            style, bar = look(arm), point.sem if point.n > 1 else None
            drawn = axis.errorbar(point.mean, y, xerr=bar, fmt=style.marker, color=style.light, capsize=2, linewidth=1)
            drawn.lines[0].set(markerfacecolor=fill, markersize=5)
    axis.set_yticks(range(len(rows)), [label for label, _ in rows], fontsize=7)
    axis.invert_yaxis()
    axis.set(title=title, xlabel=unit, xlim=(-0.02, 1.02))


def _grouped(evidence: Evidence) -> list[tuple[str, str, list[Run]]]:
    """(title, arm, finished runs) of every arm that has any; all draws of random directions are one."""
    found: dict[str, tuple[str, list[Run]]] = {}
    draws = [arm for arm in evidence.arms if arm.startswith(DIRECTIONS)]
    for arm in evidence.arms:
        if runs := list(evidence.done(arm).values()):
            first = draws[0] if arm in draws else arm
            label = _entry(evidence, arm, draws) if evidence.title(arm) == arm else f"{arm}, relaxed"
            found.setdefault(first, (label, []))[1].extend(runs)
    return [(label, arm, runs) for arm, (label, runs) in found.items()]


def arms(axis: Axes, evidence: Evidence) -> bool:
    """A3: arms with a look of their own as points (hack, solve) with SEM, seeds as dots. All draws have one entry."""
    drawn, draws = False, [arm for arm in evidence.arms if arm.startswith(DIRECTIONS)]
    for arm in (arm for arm in evidence.arms if arm in LOOKS or arm in draws):
        hack, solve = (measures.rate(evidence, arm, what) for what in ("hack", "solve"))
        if not hack.n:
            continue
        style, drawn = look(arm), True
        x_bar, y_bar = (hack.sem, solve.sem) if hack.n > 1 else (None, None)
        axis.errorbar(
            hack.mean,
            solve.mean,
            xerr=x_bar,
            yerr=y_bar,
            fmt=style.marker,
            color=style.light,
            markersize=6,
            capsize=2,
            linewidth=1,
            label=_entry(evidence, arm, draws),
        )
        runs = evidence.done(arm).values()
        points = [(r.counts("deploy").rate("hack"), r.counts("deploy").rate("solve")) for r in runs]
        axis.scatter(*zip(*points, strict=True), s=7, color=style.light, alpha=0.5, linewidths=0)
    axis.set(
        title="deployed policy, one point per arm",
        xlabel="hack rate (share of answers)",
        ylabel="solve rate (share of answers)",
        xlim=(-0.02, 1.02),
    )
    axis.set_ylim(-0.01, 1.15 * max(axis.get_ylim()[1], 0.1))
    if drawn:
        axis.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    return drawn


def _entry(evidence: Evidence, arm: str, draws: list[str]) -> str:
    """An arm's entry in a legend; none for the second and later of several draws."""
    if arm not in draws:
        return evidence.title(arm)
    return f"placebo, {len(draws)} directions" if arm == draws[0] else ""


def held_out(axis: Axes, evidence: Evidence) -> bool:
    """A5: deployed hack per mode for each 2-of-4 choice; open markers are modes without a pair."""
    choices, names = [arm for arm in evidence.held_out_arms if evidence.done(arm)], []
    loopholes = evidence.loopholes
    looks = dict(zip(loopholes, cycle(("routev", "vanilla", "absorb", "placebo", "ceiling")), strict=False))
    for row, arm in enumerate(choices):
        without = next(iter(evidence.done(arm).values())).held_out
        names.append("\n".join(m.removesuffix("_marker") for m in loopholes if m not in without))
        for place, mode in enumerate(loopholes):
            point, style = measures.rate(evidence, arm, "hack", modes=(mode,)), look(looks[mode])
            y, fill = row + 0.15 * (place - (len(loopholes) - 1) / 2), "none" if mode in without else style.light
            x_bar, label = point.sem if point.n > 1 else None, str(mode) if row == 0 else ""
            axis.errorbar(
                point.mean,
                y,
                xerr=x_bar,
                fmt=style.marker,
                color=style.light,
                markerfacecolor=fill,
                capsize=2,
                linewidth=1,
                label=label,
            )
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.set(
        title="deployed hack per mode",
        xlabel="hack rate (share of answers); open: no pair of this mode",
        ylabel="modes with pairs",
        xlim=(-0.02, 1.02),
    )
    if choices:
        axis.legend(ncols=2)
    return bool(choices)
