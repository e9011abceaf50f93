"""What a reader must know before the verdict: the gate's labels, the level of the tests, and which arms were told of audits.

Invariant: every line follows from the runs' configurations and evaluations; the words do not depend on the outcome.
"""

from vgrout.config import PairsGate
from vgrout_cli.report.cells import spread
from vgrout_cli.report.findings import Findings

ALPHA = (
    "alpha = .05, two-sided: an effect is claimed where the 95% interval over seeds and that over problems both exclude zero. "
    "No correction for the number of comparisons is made."
)


def terms(f: Findings) -> list[str]:
    """The lines before the verdict."""
    return [*_gates(f), ALPHA, *_relaxed(f)]


def _gates(f: Findings) -> list[str]:
    lines = []
    for arm in ("routev", "routev_ub"):
        gates = {run.config.gate for run in f.evidence.done(arm).values() if run.config is not None}
        kinds = {("two-way" if g.upper_scale == 0 else "three-way", g.upper_scale) for g in gates if isinstance(g, PairsGate)}
        for kind, scale in sorted(kinds):
            labels = "clean or hack, never mid" if kind == "two-way" else "clean, mid or hack"
            lines.append(f"The gate of {arm} is {kind} ({labels}; gate.upper_scale = {scale:g}).")
    return lines


def _relaxed(f: Findings) -> list[str]:
    arms = [arm for arm in f.evidence.arms if f.evidence.title(arm) != arm]
    if not arms:
        return []
    rates = "; ".join(f"{arm} {spread(f.rate(arm, 'hack')).text} / {spread(f.rate(arm, 'solve')).text}" for arm in arms)
    return [f"Relaxed comparators are told of audits in training and are no methods (deployed hack / solve): {rates}."]
