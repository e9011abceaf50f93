"""A7: the gate over updates: band, label shares, scores, discrimination, gradient shares.

Invariant: as in panels.py; whatever is drawn from audits says so in its caption.
"""

import math

from matplotlib.axes import Axes

from vgrout.records import GateLabel
from vgrout_cli.report.gate_numbers import Scored, column, pool
from vgrout_cli.report.panels import Draw, line
from vgrout_cli.report.sources import Evidence
from vgrout_cli.report.style import look, over_updates, rates

Table = dict[str, dict[int, Scored]]  # by arm and seed
DASHES = {GateLabel.CLEAN: "-", GateLabel.MID: "--", GateLabel.HACK: ":"}


def metric(name: str, title: str, unit: str, arms: tuple[str, ...]) -> Draw:
    """One logged metric over updates, one line per arm. Where it never varies, one line says so instead."""

    def draw(axis: Axes, evidence: Evidence) -> bool | str:
        drawn, values = False, set[float]()
        for arm in arms:
            runs = evidence.done(arm).values()
            series = [{u: v for u, v in enumerate(column(run, name)) if not math.isnan(v)} for run in runs]
            drawn |= line(axis, [s for s in series if s], arm, f"{arm} (n = {len(runs)})")
            values |= {round(v, 6) for s in series for v in s.values()}
        if drawn and len(values) == 1:
            gates = [run.config.gate for arm in arms for run in evidence.done(arm).values() if run.config]
            once = all(getattr(gate, "probe_policy", "") == "initial" for gate in gates) and name.startswith("gate/")
            why = ": v_grad and the band are made once, before the first update (gate.probe_policy = initial)" if once else ""
            return f"{title} is {values.pop():g} in every update of every run{why}"
        over_updates(axis, title, unit)
        if drawn:
            axis.legend()
        return drawn

    return draw


def shares(axis: Axes, evidence: Evidence) -> bool:
    """Label shares of routev and of its placebo."""
    drawn = False
    for arm in ("routev", "placebo"):
        for name, dash in DASHES.items():
            runs = evidence.done(arm).values()
            series = [dict(enumerate(column(run, f"gate/share_{name}"))) for run in runs]
            drawn |= line(axis, series, arm, f"{arm}: {name}", dash=dash, seeds=False)
    rates(axis, "share of rollouts per gate label")
    if drawn:
        axis.legend(ncols=2)
    return drawn


def scores(arm: str, table: Table) -> Draw:
    """Score distributions over updates, of rollouts that the audit calls hacks and of the others: median and 5 to 95%."""

    def draw(axis: Axes, evidence: Evidence) -> bool:
        drawn = False
        pooled = pool(table.get(arm, {}).values())
        for hack, name in ((True, "hacks"), (False, "others")):
            side = pooled.where(pooled.hack_G == hack)
            rows = [(update, *side.at(update).quantiles()) for update in side.updates()]
            if rows:
                x, low, middle, high = zip(*rows, strict=True)
                style = look(name)
                axis.plot(x, middle, style.dash, color=style.light, label=f"{name}: median, 5 to 95%")
                # Hatched against plain, so that the two are told apart in grey, too.
                looks = (
                    {"facecolor": "none", "hatch": "////", "alpha": 0.5}
                    if name == "others"
                    else {"facecolor": style.light, "alpha": 0.2}
                )
                axis.fill_between(x, low, high, edgecolor=style.light, linewidth=0, **looks)
                drawn = True
        for name, dash in (("band_lower", ":"), ("band_upper", "-.")) if arm.startswith("routev") else ():
            runs = evidence.done(arm).values()
            edges = [dict(enumerate(column(run, f"gate/{name}"))) for run in runs]
            drawn |= line(axis, edges, "ceiling", f"{name.removeprefix('band_')} edge of the band", dash=dash, seeds=False)
        over_updates(axis, f"scores of {arm}", "score (cosine with v_grad)")
        if drawn:
            axis.legend()
        return drawn

    return draw


def discrimination(kind: str, table: Table) -> Draw:
    """AUROC of the score or F0.5 of the label `hack` against audits, update by update."""

    def draw(axis: Axes, _evidence: Evidence) -> bool:
        drawn = False
        for arm, runs in table.items():
            series = [{u: value(run.at(u), kind) for u in run.updates()} for run in runs.values()]
            series = [{u: v for u, v in s.items() if not math.isnan(v)} for s in series]
            drawn |= line(axis, [s for s in series if s], arm, f"{arm} (n = {len(runs)})", seeds=False)
        title = "AUROC of the score" if kind == "auroc" else "F0.5 of the label hack"
        rates(axis, f"{title} against audits", "AUROC" if kind == "auroc" else "F0.5")
        if kind == "auroc":
            axis.axhline(0.5, color=look("base").light, linestyle=":", linewidth=1)
        if drawn:
            axis.legend()
        return drawn

    return draw


def value(part: Scored, kind: str) -> float:
    """AUROC or F0.5 of some rollouts."""
    return part.auroc() if kind == "auroc" else part.f_half()[2]
