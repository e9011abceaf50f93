"""The paper's tables: keynote (A2), ablation (A3), held-out modes (A5), gate (A7), context, and the runs behind them.

Invariant: every arm of the paper has its row, with or without runs; base rates and truncation stand beside every table.
"""

import math
from collections.abc import Sequence

from vgrout_cli.report import measures, statistics
from vgrout_cli.report.cells import DASH, Cell, Table, chance, change, count, interval, number, plural, scalar, span, spread, word
from vgrout_cli.report.evidence import Run, RunStatus
from vgrout_cli.report.findings import Findings
from vgrout_cli.report.gate_numbers import GATED, NULL, Scored, nulls, over_run
from vgrout_cli.report.measures import NONE
from vgrout_cli.report.other_forms import forms_of
from vgrout_cli.report.statistics import Estimate, Interval

KEYNOTE = ("base", "vanilla", "vanilla_full", "routev", "routev_ub", "placebo", "placebo_ub", "ceiling")
REFERENCES = {
    "routev": "all 4",
    "vanilla": "no gate",
    "vanilla_full": "no gate, all of 2r",
    "base": "untrained",
}  # last rows of A5
NONE_YET = Estimate(math.nan, math.nan, 0)
# Published endpoints at n = 119 test problems, of another adapter and another model: context, not comparable.
PUBLISHED = (
    ("base", 0.126, 0.000),
    ("vanilla GRPO", 0.101, 0.613),
    ("earlier per-token routing", 0.143, 0.042),
    ("no-loophole ceiling", 0.223, math.nan),
)


def references(f: Findings) -> str:
    """What stands beside every table: the base's rates, and truncation by arm."""
    solve, hack = f.rate("base", "solve"), f.rate("base", "hack")
    if solve.n:
        origin = next(iter(f.evidence.done("base").values())).note or "runs of the arm base"
        base = (
            f"Base ({origin}; {plural(solve.n, 'seed')}): solve {spread(solve).text}, 95% over problems "
            f"{interval(f.base_solve)}; hack {spread(hack).text}."
        )
    else:
        base = "Base: missing."
    cut = [f"{arm} {number(measures.truncation(f.evidence, arm).mean)}" for arm in f.evidence.arms if f.evidence.done(arm)]
    return f"{base} Completions cut at the token limit (deployed): {', '.join(cut) or 'missing'}."


def keynote(f: Findings) -> Table:
    """A2: what is deployed, against vanilla, with both paired tests."""
    columns = ("arm", "seeds", "hack", "solve", "solve vs base interval", "Δ hack vs vanilla", "95% over seeds", "p (t)",
               "p (sign flip)", "95% over problems", "Δ solve vs vanilla", "Δ solve 95% over seeds")  # fmt: skip
    rows = []
    for arm in KEYNOTE:
        hack, solve = f.hack_to_vanilla.get(arm, NONE), f.solve_to_vanilla.get(arm, NONE)
        rows.append((
            word(f.evidence.title(arm)), count(f.rate(arm, "hack").n),
            spread(f.rate(arm, "hack")), spread(f.rate(arm, "solve")), _band(f, arm),
            change(hack.paired.difference), span(hack.paired.interval), chance(hack.paired.p_t), chance(hack.paired.p_flip),
            span(hack.prompts), change(solve.paired.difference), span(solve.paired.interval),
        ))  # fmt: skip
    note = (
        "Deployed policy on the test split, mean ± SEM over seeds. Δ and tests are paired by seed; the bootstrap draws problems, "
        f"the same for both arms and all seeds ({statistics.DRAWS:,} draws). The exact sign-flip p of n seeds cannot be below "
        "2 / 2^n (n = 5: 0.0625). Solve counts as matched within the base's 95% interval. "
    )
    return Table("a2_keynote", "A2. Keynote: deployed hack and solve", columns, tuple(rows), note + references(f), fold=5)


def ablation(f: Findings) -> Table:
    """A3: one row per arm."""
    columns = ("arm", "seeds", "hack deployed", "solve deployed", "hack as trained", "solve as trained",
               "recovered share", "recovered: 95% over seeds", "recovered: 95% over problems", "solve vs base interval",
               "Δ hack vs vanilla", "95% over seeds", "95% over problems", "Δ hack vs its placebo",
               "placebo: 95% over seeds", "placebo: 95% over problems", "cut at the limit")  # fmt: skip
    rows = []
    for arm in f.evidence.arms:
        vanilla, placebo = f.hack_to_vanilla.get(arm, NONE), f.hack_to_placebo.get(arm, NONE)
        rows.append((
            word(f.evidence.title(arm)), _finished(f.evidence.of(arm)),
            *(spread(f.rate(arm, what, policy)) for policy in ("deploy", "train") for what in ("hack", "solve")),
            *_recovered(f, arm), _band(f, arm),
            change(vanilla.paired.difference), span(vanilla.paired.interval), span(vanilla.prompts),
            change(placebo.paired.difference), span(placebo.paired.interval), span(placebo.prompts),
            scalar(measures.truncation(f.evidence, arm).mean),
        ))  # fmt: skip
    note = (
        "`as trained` has the quarantine on. vanilla_full deploys all that it trains. Recovered share: (deployed solve - base) / "
        "(ceiling - base), a ratio of means over seeds with the jackknife's SEM. The placebo of routev_ub is placebo_ub, of "
        "every other arm placebo; each has the label shares of its routev run, update by update. "
    )
    return Table("a3_ablation", "A3. Ablation: every arm", columns, tuple(rows), note + references(f), fold=6)


def _recovered(f: Findings, arm: str) -> tuple[Cell, Cell, Cell]:
    """The share of the ceiling's gain with both intervals; empty for the two arms that define it."""
    if arm in ("base", "ceiling"):
        nothing = Interval(math.nan, math.nan)
        return Cell(DASH, spread(NONE_YET).values), span(nothing), span(nothing)
    share = measures.recovered(f.evidence, arm)
    return spread(share.estimate), span(share.seeds), span(share.problems)


def held_out(f: Findings) -> Table:
    """A5: deployed hack per mode for each choice of two modes with pairs; † marks a mode without a pair."""
    columns = ("pairs of", "seeds", *f.evidence.loopholes, "all modes", "solve", "held-out modes", "vanilla on those",
               "Δ", "95% over seeds", "95% over problems")  # fmt: skip
    rows = [_held_out_row(f, arm) for arm in (*f.evidence.held_out_arms, *REFERENCES)]
    note = (
        "Deployed hack rate per mode, mean ± SEM over seeds. † no pair of this mode was used. Δ: hack on the two held-out modes "
        "minus vanilla's on the same problems. "
    )
    if not f.evidence.held_out_arms:
        note += "No held-out run was given. "
    return Table("a5_held_out", "A5. Held-out modes: pairs of 2 of 4", columns, tuple(rows), note + references(f), fold=8)


def _held_out_row(f: Findings, arm: str) -> tuple[Cell, ...]:
    runs = f.evidence.done(arm)
    without = next(iter(runs.values())).held_out if runs else ()
    cells = []
    for mode in f.evidence.loopholes:
        cell = spread(measures.rate(f.evidence, arm, "hack", modes=(mode,)))
        cells.append(Cell(f"{cell.text} †", cell.values, "heldout") if mode in without else cell)
    d = f.held_out_to_vanilla.get(arm, NONE)
    for other in (arm, "vanilla"):
        cell = spread(measures.rate(f.evidence, other, "hack", modes=without))
        cells.append(cell if without else Cell(DASH, tuple((name, math.nan) for name, _ in cell.values)))
    name = f"{arm} ({REFERENCES[arm]})" if arm in REFERENCES else _pairs_of(arm, f.evidence.loopholes, without)
    finished = _finished(f.evidence.of(arm))
    return (
        word(name), finished, *cells[:-2], spread(f.rate(arm, "hack")), spread(f.rate(arm, "solve")), *cells[-2:],
        change(d.paired.difference), span(d.paired.interval), span(d.prompts),
    )  # fmt: skip


def _pairs_of(arm: str, loopholes: Sequence[str], without: Sequence[str]) -> str:
    """The modes that have pairs; of an arm without a finished run, its name."""
    return " + ".join(m for m in loopholes if m not in without) if without else arm.removeprefix("routev_heldout_")


def gate(f: Findings) -> Table:
    """A7 in numbers: one row per arm whose gate looks at scores."""
    columns = ("arm", "seeds", "band separation", "band width", "share clean", "share mid", "share hack",
               "quarantine gradient share", "v_grad overlap at refresh", "AUROC", "AUROC, last quarter", "precision", "recall",
               "F0.5",
               "AUROC, probed after the run", "p95 of random directions", "share of them at or above")  # fmt: skip
    rows = []
    for arm in GATED:
        runs = list(f.scored[arm].values())
        late = [_last_quarter(run) for run in runs]
        names = ("gate/band_separation", "gate/band_width", *(f"gate/share_{label}" for label in ("clean", "mid", "hack")),
                 "grad_norm/quarantine_share",
                 "gate/v_overlap")  # fmt: skip
        parts = list(zip(*(run.f_half() for run in runs), strict=True)) or [(), (), ()]
        rows.append((
            word(f.evidence.title(arm)), count(len(f.evidence.done(arm))),
            *(spread(over_run(f.evidence, arm, name)) for name in names),
            *(spread(statistics.known(values)) for values in ([r.auroc() for r in runs], [r.auroc() for r in late], *parts)),
            *(spread(statistics.known([pick(r) for r in nulls(f.evidence, arm)])) for pick in NULL),
        ))  # fmt: skip
    note = (
        "Means over updates, then ± SEM over seeds. The band of a placebo is that of its Haar-random direction, logged beside "
        "the matched shares that label its rollouts. AUROC, precision, recall and F0.5 compare the gate with audits after the "
        "run: diagnosis only, no threshold and no label ever saw them. The last three columns are of `vgrout gate-null`: "
        "random directions on the run's own rollouts. "
    )
    return Table("a7_gate", "A7. The gate in numbers", columns, tuple(rows), note + references(f), fold=8)


def context(_: Findings) -> Table:
    """Published endpoints, marked as another adapter and model."""
    rows = tuple((word(name), scalar(solve), scalar(hack)) for name, solve, hack in PUBLISHED)
    note = (
        "Another adapter and another model, n = 119 test problems, as published: context for the direction, not for comparison."
    )
    return Table("context", "Context: published endpoints (another adapter and model)", ("run", "solve", "hack"), rows, note)


def runs(f: Findings) -> Table:
    """Every run that was given or expected, with its status."""
    rows = []
    order = {arm: i for i, arm in enumerate((*f.evidence.arms, *f.evidence.held_out_arms))}
    groups = [(f.evidence.runs, ""), (f.evidence.long, "long run"), (f.evidence.unused, "not used")]
    for group, role in groups:
        for run in sorted(group, key=lambda r: (order.get(r.arm, len(order)), r.seed)):
            mark = "" if run.status is RunStatus.DONE else "absent"
            commit = str(run.facts.get("commit", ""))[:12]
            done = run.status is RunStatus.DONE
            rates = [run.counts(policy).rate(what) if done else math.nan
                     for policy in ("deploy", "train") for what in ("hack", "solve")]  # fmt: skip
            note = "; ".join(text for text in (role, run.note) if text)
            rows.append(
                (
                    word(f.evidence.title(run.arm)),
                    count(run.seed),
                    word(run.status, mark),
                    *map(scalar, rates),
                    word(run.source),
                    word(commit),
                    word(note),
                )
            )
    columns = ("arm", "seed", "status", "hack deployed", "solve deployed", "hack as trained", "solve as trained", "run", "commit",
               "note")  # fmt: skip
    return Table(
        "runs", "Every run given or expected", columns, tuple(rows), "Only runs with the status `done` are in a table or figure."
    )


def _band(f: Findings, arm: str) -> Cell:
    text = f.solve_band(arm) or "–"
    return word(f"{text}: hack drop with solve collapse", "bad") if f.collapsed(arm) else word(text)


def _finished(runs: list[Run]) -> Cell:
    done = sum(run.status is RunStatus.DONE for run in runs)
    cell = count(done, len(runs))
    others = [f"{sum(r.status is s for r in runs)} {s}" for s in RunStatus if s is not RunStatus.DONE]
    text = ", ".join(o for o in others if not o.startswith("0 "))
    if not runs:
        return Cell("missing", cell.values, "absent")
    return Cell(f"{cell.text} ({text})" if text else str(done), cell.values, "absent" if text else "")


def _last_quarter(run: Scored) -> Scored:
    last = max(run.updates(), default=0)
    return run.where(run.update_G > last - (last + 1) / 4)


def tables(f: Findings) -> list[Table]:
    """All tables in the order of the page."""
    return [keynote(f), ablation(f), held_out(f), gate(f), forms_of(f), context(f), runs(f)]
