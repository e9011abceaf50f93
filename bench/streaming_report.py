"""Tables and picture of bench/streaming.py: settings side by side, as means over seeds with standard errors.

Invariant: a ratio is taken within one seed, between runs that ran one after the other, and then averaged.
"""

from collections import Counter
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

from vgrout.files import write_whole
from vgrout_cli.report.style import Look, canvas, over_updates, png, rates

LOOKS = {
    "sync": Look("#454b52", "#d3d8de", "-", "o"),
    "async 0": Look("#0067a5", "#5cb5f2", "--", "D"),
    "async 1": Look("#007a55", "#43c99f", "-.", "h"),
    "async 4": Look("#c44e00", "#ff9152", ":", "^"),
}
CURVES = {"rate/hack": "hack rate", "rate/solve": "solve rate", "reward/mean": "mean reward"}


def by_setting(runs: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Runs by setting, both in the order in which they came."""
    found: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        found.setdefault(run["setting"], []).append(run)
    return found


def mean_sem(values: list[float]) -> tuple[float, float]:
    """Mean and standard error; the error of one value is not known (nan)."""
    return fmean(values), stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")


def said(values: list[float], digits: int = 2) -> str:
    """`mean ± SEM`."""
    mean, sem = mean_sem(values)
    return f"{mean:.{digits}f}" + ("" if sem != sem else f" ± {sem:.{digits}f}")


def curve(runs: list[dict[str, Any]], name: str) -> list[tuple[float, float]]:
    """(mean, SEM) over seeds, per update."""
    return [mean_sem([row[name] for row in rows]) for rows in zip(*(run["updates"] for run in runs), strict=True)]


def markdown(about: dict[str, Any], runs: list[dict[str, Any]]) -> str:
    """The whole report."""
    settings, updates = by_setting(runs), len(runs[0]["updates"])
    seeds, rollouts = len(next(iter(settings.values()))), sum(row["rollouts"] for row in runs[0]["updates"])
    m, (head, dash, dirty) = about["machine"], about["commit"].partition("-")
    lines = [
        "# Asynchronous against synchronous training", "",
        f"`{about['command']}`, commit {head[:12]}{dash}{dirty}; {m['cpu']}, {m['cores']} cores, {m['system']};",
        f"engine and learner pinned to one core each. Seeds: {seeds}; {updates} updates, {rollouts} rollouts per run; mean ± SEM",
        f"over seeds, ratios within a seed. `{about['config']}` with {', '.join(f'`{text}`' for text in about['set'])}.",
        "Where rollouts are older than the learner, mismatch/kl is what the policy moved meanwhile; else it is rounding.", "",
        "| setting | seconds | ratio to sync | learner waits | consumed at staleness | dropped | mismatch/kl median, max |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    lines += [_row(name, mine, settings["sync"]) for name, mine in settings.items()]
    third = max(1, updates // 3)
    lines += ["", f"Over the last {third} updates (training rollouts):", "", "| setting | hack | solve | reward |"]
    lines += ["| --- | --- | --- | --- |"]
    for name, mine in settings.items():
        late = [said([fmean(row[what] for row in run["updates"][-third:]) for run in mine], 3) for what in CURVES]
        lines.append(f"| {name} | {' | '.join(late)} |")
    lines += ["", "![Curves](curves.png)", "", "Per update: hack / solve / reward, means over seeds.", ""]
    lines += [f"| update | {' | '.join(settings)} |", "| --- |" + " --- |" * len(settings)]
    curves = {name: [curve(mine, what) for what in CURVES] for name, mine in settings.items()}
    for update in range(updates):
        cells = [" / ".join(f"{line[update][0]:.2f}" for line in curves[name]) for name in settings]
        lines.append(f"| {update} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _row(name: str, mine: list[dict[str, Any]], sync: list[dict[str, Any]]) -> str:
    rows = [row for run in mine for row in run["updates"]]
    of_seed = {run["seed"]: run["train_s"] for run in sync}
    ratios = [run["train_s"] / of_seed[run["seed"]] for run in mine if run["seed"] in of_seed]
    ages, dropped = Counter[str](), Counter[str]()
    for row in rows:
        ages.update(row["staleness"])
        dropped.update(row["dropped"] or {})
    groups = sum(ages.values())
    waits = [sum(row["time/wait_rollouts"] for row in run["updates"]) / run["train_s"] for run in mine]
    histogram = ", ".join(f"{age}: {100 * n / groups:.0f}%" for age, n in sorted(ages.items()))
    lost = ", ".join(f"{why}: {100 * n / (groups + dropped.total()):.1f}%" for why, n in sorted(dropped.items())) or "none"
    kl = [row["mismatch/kl"] for row in rows]
    cells = [name, said([run["train_s"] for run in mine], 1), said(ratios), f"{100 * fmean(waits):.0f}%", histogram, lost,
             f"{median(kl):.1e}, {max(kl):.1e}"]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def draw(runs: list[dict[str, Any]], path: Path) -> None:
    """One PNG, a panel per curve, a line per setting with a band of ± 1 SEM."""
    with canvas(len(CURVES)) as (figure, axes):
        for axis, (what, title) in zip(axes, CURVES.items(), strict=True):
            for name, mine in by_setting(runs).items():
                look, points = LOOKS[name], curve(mine, what)
                x, means = list(range(len(points))), [mean for mean, _ in points]
                axis.plot(x, means, look.dash, marker=look.marker, color=look.light, label=name, markersize=3)
                if len(mine) > 1:
                    low, high = ([mean + sign * sem for mean, sem in points] for sign in (-1, 1))
                    axis.fill_between(x, low, high, color=look.light, alpha=0.15, linewidth=0)
            (over_updates if what == "reward/mean" else rates)(axis, f"{title}, training rollouts")
        axes[0].legend()
        write_whole(path, png(figure))
