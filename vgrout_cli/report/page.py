"""The one page: verdict, checklist, tables, figures, traces. Self-contained HTML without scripts and without a network.

Invariant: every text that comes from a run is escaped; the page loads nothing (no src, no link, no import).
"""

import html
from collections import Counter
from pathlib import Path

from vgrout.arms import arms_of
from vgrout.named_files import find
from vgrout_cli.report import cells
from vgrout_cli.report.cells import Table, plural
from vgrout_cli.report.findings import Findings
from vgrout_cli.report.inline_svg import palette
from vgrout_cli.report.panels import Panel
from vgrout_cli.report.terms import terms
from vgrout_cli.report.traces import Completion, Trace
from vgrout_cli.report.verdict import Sentence, verdict

SECTIONS = (
    ("A2", "A2. Keynote table"),
    ("A3", "A3. Ablation"),
    ("A4", "A4. Long run"),
    ("A5", "A5. Held-out modes"),
    ("A6", "A6. Full traces"),
    ("A7", "A7. What the gate did"),
    ("A8", "A8. The same problems, asked in other ways"),
    ("published", "Context: published endpoints"),
    ("runs-list", "Runs"),
)
PLACES = {
    "a2_keynote": "A2",
    "a3_ablation": "A3",
    "a5_held_out": "A5",
    "a7_gate": "A7",
    "a8_forms": "A8",
    "context": "published",
    "runs": "runs-list",
}
Drawn = tuple[Panel, str, str]  # a panel, its inline SVG where there was something to draw, and why there was not
READING = (
    "Solve: the completion is correct under the strict oracle. Hack: it exploits the problem's loophole and is not correct. "
    "Deployed: the quarantine is deleted; as trained: it is on. ± is the standard error over seeds. An effect counts as shown "
    "where the 95% interval over seeds (paired t) and the 95% interval over problems (paired bootstrap) both exclude zero. The "
    "comparisons are fixed in the code; no correction for their number is made."
)


def page(f: Findings, checks: Table, tables: list[Table], drawn: list[Drawn], found: dict[str, Trace | None]) -> str:
    """The whole document."""
    known = (("arms", "Arms"), *SECTIONS, ("checklist", "Checklist"))
    links = "".join(f'<a href="#{key}">{html.escape(title)}</a> ' for key, title in known)
    parts = [
        "<h1>vGROUT: what was deployed</h1>",
        f"<p>{html.escape(_given(f))}</p>", _panels("A1", drawn),
        *(f"<p>{html.escape(line)}</p>" for line in terms(f)),
        f'<ul class="verdict">{"".join(map(_sentence, verdict(f)))}</ul>',
        f'<p class="note">{html.escape(READING)}</p>', f"<nav>{links}</nav>", _arms(f),
        *(_section(key, title, tables, drawn, found) for key, title in SECTIONS),
        "<h2>Red-team checklist</h2>", cells.to_html(checks),
        f'<p class="note">{html.escape(_origin(f))}</p>',
    ]  # fmt: skip
    colours = f":root{{{palette('light')}}}@media screen and (prefers-color-scheme:dark){{:root{{{palette('dark')}}}}}"
    sheet, body = colours + (Path(__file__).parent / "report.css").read_text(), "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>vGROUT report</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="color-scheme" content="light dark">'
        f"<style>{sheet}</style></head><body>\n{body}\n</body></html>\n"
    )


def _section(key: str, title: str, tables: list[Table], drawn: list[Drawn], found: dict[str, Trace | None]) -> str:
    parts = [f'<h2 id="{key}">{html.escape(title)}</h2>']
    parts.append(_panels(key, drawn))
    parts += [cells.to_html(table) for table in tables if PLACES[table.name] == key]
    if key == "A6":
        parts += [_trace(mode, trace) for mode, trace in found.items()]
    return "\n".join(parts)


def _sentence(s: Sentence) -> str:
    tag = f'<span class="tag">{s.outcome}</span>'
    return f'<li class="{s.outcome}"><b>{tag}{html.escape(s.claim)}.</b><span class="why">{html.escape(s.evidence)}.</span></li>'


def _panels(section: str, drawn: list[Drawn]) -> str:
    mine = [(panel, svg, why) for panel, svg, why in drawn if panel.section == section]
    figures = "".join(_panel(panel, svg) for panel, svg, why in mine if not why)
    reasons = "".join(
        f'<p class="note">Not drawn, {html.escape(panel.name)}: {html.escape(why)}.</p>' for panel, _, why in mine if why
    )
    return (f'<div class="panels">{figures}</div>' if figures else "") + reasons


def _arms(f: Findings) -> str:
    """A glossary of the arms that were given."""
    given = {r.arm for r in (*f.evidence.runs, *f.evidence.long)}
    meanings = {arm.name: arm.meaning for arm in arms_of(find("", Path("tiny"))) if arm.name in given}
    rows = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(meanings.get(name, 'an arm of your own'))}</dd>"
                   for name in (*f.evidence.arms, *f.evidence.held_out_arms) if name in given)  # fmt: skip
    return f'<h2 id="arms">Arms</h2><dl class="arms">{rows}</dl>'


def _panel(panel: Panel, svg: str) -> str:
    if not svg:
        return f'<figure><div class="missing">missing (no finished run): {html.escape(panel.caption)}</div></figure>'
    return f"<figure>{svg}<figcaption>{html.escape(panel.caption)}</figcaption></figure>"


def _trace(mode: str, trace: Trace | None) -> str:
    if trace is None:
        text = "missing: no finished run with logs has a group of this mode with both a hack and a clean completion"
        return f'<h3>{html.escape(mode)}</h3><div class="missing">{text}</div>'
    sides = "".join(_side(name, side) for name, side in (("Hack", trace.hack), ("Clean", trace.clean)))
    return (
        f"<h3>{html.escape(mode)}</h3><p class='note'>{html.escape(trace.where)}. The prompt with its hint:</p>"
        f"<pre>{html.escape(trace.prompt)}</pre><div class='pair'>{sides}</div>"
    )


def _side(name: str, side: Completion) -> str:
    said = "".join(f"<p class='note'>{html.escape(text)}</p>" for text in (side.verdict, side.label))
    return f"<div><h4>{name}</h4><pre>{html.escape(side.text)}</pre>{said}</div>"


def _given(f: Findings) -> str:
    runs = [r for r in f.evidence.runs if r.final and not r.note]  # a note: a base taken from another run
    n = Counter(r.final["deploy"]["all"]["n"] for r in runs).most_common(1)
    asked = f"; {n[0][0]} completions per evaluation, {runs[0].final['samples']} per test problem" if n else ""
    temperature = f", T = {runs[0].config.eval.temperature:g}" if runs and runs[0].config else ""
    several = len({r.seed for r in runs})
    return f"{plural(len(runs), 'finished run')}, {plural(several, 'seed')}, {f.evidence.updates} updates{asked}{temperature}."


def _origin(f: Findings) -> str:
    facts = [r.facts for r in (*f.evidence.runs, *f.evidence.long) if r.facts]
    commits = sorted({str(a.get("commit", "unknown")) for a in facts})
    machines = sorted({f"{m.get('cpu')}, {m.get('cores')} cores" for a in facts if (m := a.get("machine"))})
    versions = sorted({f"{k} {v}" for a in facts for k, v in a.get("versions", {}).items()})
    suites = ", ".join(str(s["suite"]) for s in f.evidence.suites) or "single runs"
    return (
        f"From {suites}. Commit of the runs: {', '.join(commits) or 'unknown'}. Machine: {'; '.join(machines) or 'unknown'}. "
        f"Packages: {', '.join(versions) or 'unknown'}."
    )
