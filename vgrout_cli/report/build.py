"""From paths to the report's folder: read, compute, draw, and write every file whole.

    OUT/report.html               everything in one page
    OUT/figures/<name>.png .svg   every figure, and captions.txt
    OUT/tables/<name>.csv .tex    every table

Invariant: everything is read and computed before the first file is written; the same runs give the same bytes.
"""

from collections.abc import Sequence
from pathlib import Path

from vgrout.files import write_whole
from vgrout_cli.report import cells, checklist, tables
from vgrout_cli.report import style as figures
from vgrout_cli.report.evidence import Run
from vgrout_cli.report.findings import Findings, find
from vgrout_cli.report.gate_panels import discrimination, metric, scores, shares
from vgrout_cli.report.inline_svg import inline
from vgrout_cli.report.page import page
from vgrout_cli.report.panels import Panel, arms, comparators, held_out, other_form, outcome
from vgrout_cli.report.sources import gather
from vgrout_cli.report.traces import traces

DIAGNOSIS = "Diagnosis only: audits were joined after the run."


def build(paths: list[Path], out: Path) -> Findings:
    """Make the report of runs and suites in `out`. Raises UserError for a path that is neither."""
    findings = find(gather(paths))
    written, checks = tables.tables(findings), checklist.table(findings, checklist.checklist(findings))
    found = traces(findings.evidence)
    drawn, files, stale, captions = [], {}, [], []
    for panel in panels(findings):
        with figures.canvas() as (figure, (axis,)):
            svg = ""
            said = panel.draw(axis, findings.evidence)
            if said is True:
                captions.append(f"{panel.name}: {panel.caption}\n")
                text = figures.svg(figure)
                files[f"figures/{panel.name}.svg"] = text.encode()
                files[f"figures/{panel.name}.png"] = figures.png(figure)
                svg = inline(text, panel.name, panel.caption)
            else:
                stale += [out / f"figures/{panel.name}.{kind}" for kind in ("svg", "png")]
            drawn.append((panel, svg, said if isinstance(said, str) else ""))
    for table in (*written, checks):
        files[f"tables/{table.name}.csv"] = cells.to_csv(table).encode()
        files[f"tables/{table.name}.tex"] = cells.to_latex(table).encode()
    files["figures/captions.txt"] = "\n".join(captions).encode()
    files["report.html"] = page(findings, checks, written, drawn, found).encode()
    for path in stale:  # of an earlier report with more runs
        path.unlink(missing_ok=True)
    for name, data in files.items():
        write_whole(out / name, data)
    return findings


def panels(f: Findings) -> list[Panel]:
    """Every figure of the report, with a caption that can stand under it elsewhere."""
    lines = "Lines: mean over seeds; shaded: ± 1 standard error; thin: single seeds."
    asked, asked_long = _asked(f.evidence.runs), _asked(f.evidence.long)
    policies = "Solid: deployed (quarantine deleted); dashed, open markers: as trained (quarantine on); dotted: untrained base."
    long = f"Runs of at least {2 * f.evidence.updates} updates"
    gated = ("routev", "placebo")
    scored = "Median and 5th to 95th percentile over rollouts, seeds pooled; hacks (solid, plain), all others (dashed, hatched)"
    plain = "plain GRPO on one block (vanilla) and on both (vanilla_full)"
    against = f"{asked} at every checkpoint, routev against {plain}. {policies} {lines}"
    return [
        Panel("a1_hack", "A1", f"Hack rate {against}", outcome("hack")),
        Panel("a1_solve", "A1", f"Solve rate {against}", outcome("solve")),
        Panel("a3_arms", "A1", f"Deployed hack and solve rate {asked} of the main arms after {f.evidence.updates} updates, mean "
              "over seeds ± 1 standard error; dots: single seeds. Best is top left.", arms),
        Panel("a3_comparators", "A3", f"Deployed hack rate (open) and solve rate (filled) {asked} of the comparators after "
              f"{f.evidence.updates} updates, mean over seeds (their number) ± 1 standard error. Relaxed: told of audits.",
              comparators),
        Panel("a4_hack", "A4", f"{long}: hack rate {asked_long}. {policies} {lines}", outcome("hack", long=True)),
        Panel("a4_solve", "A4", f"{long}: solve rate {asked_long}. {policies} {lines}", outcome("solve", long=True)),
        Panel("a5_modes", "A5", f"Deployed hack rate {asked} per mode for each choice of two modes with pairs, mean over seeds "
              "± 1 standard error. Open markers: modes without a pair.", held_out),
        Panel("a7_band", "A7", "Separation of the cross-fitted pairs, mean score of hack sides minus clean sides, whatever "
              f"upper_scale is: the pairs' direction against the Haar-random one. {lines}",
              metric("gate/band_separation", "band separation", "cosine", gated)),
        Panel("a7_shares", "A7", "Share of an update's rollouts with each gate label, mean over seeds ± 1 standard error; the "
              "placebo's follow routev's by design.", shares),
        Panel("a7_scores", "A7", f"Scores of routev. {scored}. {DIAGNOSIS}", scores("routev", f.scored)),
        Panel("a7_scores_placebo", "A7", f"Scores of placebo. {scored}. {DIAGNOSIS}", scores("placebo", f.scored)),
        Panel("a7_auroc", "A7", f"AUROC of the score for telling hacks from other rollouts; 0.5 (dotted) is chance. {DIAGNOSIS}",
              discrimination("auroc", f.scored)),
        Panel("a7_f_half", "A7", f"F0.5 (precision counts twice as much as recall) of the label hack. {DIAGNOSIS}",
              discrimination("f_half", f.scored)),
        Panel("a7_quarantine", "A7", f"Quarantine's part of the squared gradient norm. {lines}",
              metric("grad_norm/quarantine_share", "quarantine gradient share", "share of the squared norm", (*gated, "absorb"))),
        Panel("a7_overlap", "A7", f"Cosine of v_grad with the one before its last refresh, averaged over modules. {lines}",
              metric("gate/v_overlap", "v_grad overlap", "cosine", gated)),
        *(Panel(f"a8_{name}_{what}", "A8", f"Deployed {what} rate after {f.evidence.updates} updates: {meaning}. Open: the whole "
                "test split, asked as usual. Mean over runs (their number) ± 1 standard error.", other_form(name, what))
          for name, whats, meaning in FORMS for what in whats),
    ]  # fmt: skip


FORMS = (  # eval_curve_<name>.jsonl of `vgrout eval-curve`, the rates to draw, and what it asks
    ("test_novel", ("hack", "solve"), "hints and detectors in words that no training prompt has (--novel-markers)"),
    ("monitor", ("hack", "solve"), "the frozen monitoring subset (--monitor)"),
    ("test_no_hint", ("hack",), "loopholes are open, but no prompt speaks of them (--without-hints)"),
)


def _asked(runs: Sequence[Run]) -> str:
    """What a rate is of: `on 128 test problems (2 answers each, T = 0.7)`."""
    for run in runs:
        if run.final and run.config and not run.note:
            n, samples = run.final["deploy"]["all"]["n"], run.final["samples"]
            return f"on {n // samples} test problems ({samples} answers each, T = {run.config.eval.temperature:g})"
    return "on the test problems"
