"""Table A8: what is deployed when the test split is asked in other forms, and with the quarantine deleted only in part.

Invariant: a number is that of the run's last checkpoint, and stands only where the evaluation was made of every finished run of
the arm; nothing is filled in.
"""

import math
from collections.abc import Callable

from vgrout.errors import UserError
from vgrout.files import read_json
from vgrout.rows import Row
from vgrout_cli.report import statistics
from vgrout_cli.report.cells import Cell, Table, count, spread, word
from vgrout_cli.report.evidence import Run
from vgrout_cli.report.findings import Findings

FORMS = {"no_hint": "without hints", "closed": "loophole closed", "novel": "novel markers"}
SCALES = (0.25, 0.5)


def forms_of(f: Findings) -> Table:
    """One row per arm: hack and solve in the usual form, in the others, and as the quarantine comes back."""
    columns = ("arm", "seeds", "hack", "solve", *(f"{what}, {name}" for name in FORMS.values() for what in ("hack", "solve")),
               *(f"hack, quarantine x {scale:g}" for scale in SCALES))  # fmt: skip
    rows = []
    for arm in (*f.evidence.arms, *f.evidence.held_out_arms):
        runs = list(f.evidence.done(arm).values())
        if not runs:
            continue
        usual = [spread(f.rate(arm, what)) for what in ("hack", "solve")]
        others = [_over(runs, lambda r, form=form: _form(r, form), what) for form in FORMS for what in ("hack", "solve")]
        partly = [_over(runs, lambda r, scale=scale: _scale(r, scale), "hack") for scale in SCALES]
        rows.append((word(f.evidence.title(arm)), count(len(runs)), *usual, *others, *partly))
    note = (
        "Deployed policy on the test split, mean ± SEM over seeds. Without hints: loopholes are open, no prompt speaks of them. "
        "Loophole closed: the prompts, sampling seeds and so the answers of the usual test, graded as if no loophole were there; "
        "a solve rate other than the usual one would be a fault of the grader (`eval.forms`, `vgrout eval-curve`). "
        "Quarantine x s: deleted in part (`vgrout quarantine-sweep`); x 0 is what is deployed. – where not every run was asked. "
    )
    return Table("a8_forms", "A8. The same problems, asked in other ways", columns, tuple(rows), note)


def _over(runs: list[Run], pick: Callable[[Run], Row | None], what: str) -> Cell:
    found = [pick(run) for run in runs]
    if any(counts is None for counts in found):
        return spread(statistics.estimate([]))
    return spread(statistics.estimate([float(counts[f"{what}_rate"]) for counts in found if counts is not None]))


def digests(runs: list[Run]) -> dict[str, set[str]]:
    """Name of a form to the digests of the questions that these runs were asked in it, where any was."""
    found = {name: {record.get("questions", "") for run in runs if (record := _last(run, form))} for form, name in FORMS.items()}
    return {name: asked for name, asked in found.items() if asked}


def _form(run: Run, form: str) -> Row | None:
    record = _last(run, form)
    return record["deploy"]["all"] if record else None


def _last(run: Run, form: str) -> Row | None:
    return next((r for r in reversed(run.other_curves.get(f"test_{form}", ())) if r["update"] == run.updates), None)


def _scale(run: Run, scale: float) -> Row | None:
    file = run.path / "quarantine_sweep.json"
    if not file.is_file():
        return None
    record = read_json(file, "what `vgrout quarantine-sweep` writes")
    try:
        return next((row["all"] for row in record["scales"] if math.isclose(row["scale"], scale)), None)
    except (KeyError, TypeError):
        raise UserError(str(file), "another form", "a record as `vgrout quarantine-sweep` writes it") from None
