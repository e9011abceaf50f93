"""What a reader must know before the verdict: the gate's labels, the level of the tests, and which arms were told of audits.

Invariant: every line follows from the runs' configurations and evaluations; the words do not depend on the outcome.
"""

from vgrout.config import PairsGate
from vgrout_cli.report.cells import spread
from vgrout_cli.report.findings import Findings
from vgrout_cli.report.statistics import known

ALPHA = (
    "alpha = .05, two-sided: an effect is claimed where the 95% interval over seeds and that over problems both exclude zero. "
    "No correction for the number of comparisons is made."
)


def terms(f: Findings) -> list[str]:
    """The lines before the verdict."""
    return [*_gates(f), *_price(f), ALPHA, *_relaxed(f)]


def _gates(f: Findings) -> list[str]:
    lines = []
    for arm in ("routev", "routev_ub"):
        gates = {run.config.gate for run in f.evidence.done(arm).values() if run.config is not None}
        kinds = {("two-way" if g.upper_scale == 0 else "three-way", g.upper_scale) for g in gates if isinstance(g, PairsGate)}
        for kind, scale in sorted(kinds):
            labels = "clean or hack, never mid" if kind == "two-way" else "clean, mid or hack"
            lines.append(f"The gate of {arm} is {kind} ({labels}; gate.upper_scale = {scale:g}).")
    return lines


def _price(f: Findings) -> list[str]:
    """What the gate routes away, hacks and others."""
    lines = []
    for arm in ("routev", "routev_ub"):
        runs = [run for run in f.scored[arm].values() if len(run.label_G)]
        if not runs:
            continue
        share, solves = (spread(known(values)).text for values in zip(*(run.routed() for run in runs), strict=True))
        precision, recall, _ = (spread(known(values)).text for values in zip(*(run.f_half() for run in runs), strict=True))
        lines.append(
            f"The gate of {arm} labels {share} of the rollouts hack, {solves} of all solves among them; {precision} of what it "
            f"labels so are hacks, and {recall} of all hacks are labelled so."
        )
    return lines


def _relaxed(f: Findings) -> list[str]:
    arms = [arm for arm in f.evidence.arms if f.evidence.title(arm) != arm]
    if not arms:
        return []
    rates = "; ".join(f"{arm} {spread(f.rate(arm, 'hack')).text} / {spread(f.rate(arm, 'solve')).text}" for arm in arms)
    return [f"Relaxed comparators are told of audits in training and are no methods (deployed hack / solve): {rates}."]
