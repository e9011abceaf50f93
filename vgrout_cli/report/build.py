"""From paths to the report's folder: read, compute, draw, and write every file whole.

    OUT/report.html               everything in one page
    OUT/figures/<name>.png .svg   every figure
    OUT/tables/<name>.csv .tex    every table

Invariant: everything is read and computed before the first file is written; the same runs give the same bytes.
"""

from pathlib import Path

from vgrout.files import write_whole
from vgrout_cli.report import cells, checklist, tables
from vgrout_cli.report import style as figures
from vgrout_cli.report.findings import Findings, find
from vgrout_cli.report.gate_panels import discrimination, metric, scores, shares
from vgrout_cli.report.inline_svg import inline
from vgrout_cli.report.page import page
from vgrout_cli.report.panels import Panel, arms, held_out, outcome
from vgrout_cli.report.sources import gather
from vgrout_cli.report.traces import traces

DIAGNOSIS = "Diagnosis only: audits were joined after the run."


def build(paths: list[Path], out: Path) -> Findings:
    """Make the report of runs and suites in `out`. Raises UserError for a path that is neither."""
    findings = find(gather(paths))
    written, checks = tables.tables(findings), checklist.table(findings, checklist.checklist(findings))
    found = traces(findings.evidence)
    drawn, files, stale = [], {}, []
    for panel in panels(findings):
        with figures.canvas() as (figure, (axis,)):
            svg = ""
            if panel.draw(axis, findings.evidence):
                text = figures.svg(figure)
                files[f"figures/{panel.name}.svg"] = text.encode()
                files[f"figures/{panel.name}.png"] = figures.png(figure)
                svg = inline(text, panel.name, panel.caption)
            else:
                stale += [out / f"figures/{panel.name}.{kind}" for kind in ("svg", "png")]
            drawn.append((panel, svg))
    for table in (*written, checks):
        files[f"tables/{table.name}.csv"] = cells.to_csv(table).encode()
        files[f"tables/{table.name}.tex"] = cells.to_latex(table).encode()
    files["report.html"] = page(findings, checks, written, drawn, found).encode()
    for path in stale:  # of an earlier report with more runs
        path.unlink(missing_ok=True)
    for name, data in files.items():
        write_whole(out / name, data)
    return findings


def panels(f: Findings) -> list[Panel]:
    """Every figure of the report."""
    lines = "Mean over seeds with ± 1 SEM; thin lines are single seeds."
    long = f"Runs of at least {2 * f.evidence.updates} updates. {lines}"
    gated = ("routev", "placebo")
    return [
        Panel("a1_hack", "A1", f"Hack rate at every checkpoint, routev against vanilla. {lines}", outcome("hack")),
        Panel("a1_solve", "A1", f"Solve rate at every checkpoint, routev against vanilla. {lines}", outcome("solve")),
        Panel("a3_arms", "A3", "Deployed hack and solve rate of every arm, ± 1 SEM; dots are seeds. Best is top left.", arms),
        Panel("a4_hack", "A4", f"Hack rate in the long run. {long}", outcome("hack", long=True)),
        Panel("a4_solve", "A4", f"Solve rate in the long run. {long}", outcome("solve", long=True)),
        Panel("a5_modes", "A5", "Deployed hack rate per mode for each choice of two modes with pairs, ± 1 SEM.", held_out),
        Panel("a7_band", "A7", f"Width of the band: the pairs' direction against the Haar-random one. {lines}",
              metric("gate/band_width", "band width", gated)),
        Panel("a7_shares", "A7", "Share of rollouts with each gate label; the placebo's follow routev's by design.", shares),
        Panel("a7_scores", "A7", f"Scores of routev, seeds pooled, by audit. {DIAGNOSIS}", scores("routev", f.scored)),
        Panel("a7_scores_placebo", "A7", f"Scores of placebo, seeds pooled, by audit. {DIAGNOSIS}", scores("placebo", f.scored)),
        Panel("a7_auroc", "A7", f"How well scores tell hacks from the rest. {DIAGNOSIS}", discrimination("auroc", f.scored)),
        Panel("a7_f_half", "A7", f"F0.5 of the label hack. {DIAGNOSIS}", discrimination("f_half", f.scored)),
        Panel("a7_quarantine", "A7", f"Share of the squared gradient norm that lies in the quarantine. {lines}",
              metric("grad_norm/quarantine_share", "quarantine gradient share", ("routev", "placebo", "absorb"))),
        Panel("a7_overlap", "A7", "Cosine of v_grad with the one before its refresh, averaged over modules; 1 where it is never "
              "refreshed (probe_policy = initial).", metric("gate/v_overlap", "v_grad overlap", gated)),
    ]  # fmt: skip
