"""Tables as data: cells that know their text and their numbers, written as HTML, CSV and LaTeX from one source.

Invariant: what a reader sees and what the CSV holds are the same numbers (the CSV unrounded); a number that is not there is a
dash for readers and empty in the CSV.
"""

import csv
import html
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from vgrout_cli.report.statistics import Estimate, Interval

DASH = "–"
LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "−": "$-$", "Δ": r"$\Delta$", "≤": r"$\le$",
    "≥": r"$\ge$", "×": r"$\times$", "†": r"$\dagger$", "–": "--", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """What a reader sees, the numbers by the suffix of their CSV column, and an emphasis (a CSS class)."""

    text: str
    values: tuple[tuple[str, str | float | int], ...]
    mark: str = ""


@dataclass(frozen=True)
class Table:
    """A named table. Every row has one cell per column; `note` says what is needed to read it."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    fold: int = 0  # on a page, columns from this one on are a second table below, with the first column again


def number(value: float, digits: int = 3, sign: bool = False) -> str:
    """A rounded number with a real minus sign; a dash for NaN."""
    if math.isnan(value):
        return DASH
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.replace("-", "+" if sign else "")
    return text.replace("-", "−")


def word(text: str, mark: str = "") -> Cell:
    """Text."""
    return Cell(text, (("", text),), mark)


def count(value: int, of: int | None = None) -> Cell:
    """A whole number, or a number of a whole."""
    return Cell(f"{value}" if of is None else f"{value} of {of}", (("", value),) if of is None else (("", value), ("of", of)))


def scalar(value: float, digits: int = 3) -> Cell:
    """One number."""
    return Cell(number(value, digits), (("", value),))


def chance(p: float) -> Cell:
    """A p value."""
    return Cell("<0.0001" if p < 0.0001 else number(p, 4), (("", p),))


def spread(e: Estimate, mark: str = "") -> Cell:
    """Mean ± SEM; `(one seed)` where there is no SEM; `missing` without a run."""
    if e.n == 0:
        text = "missing"
    elif e.n == 1:
        text = f"{number(e.mean)} (one seed)"
    else:
        text = f"{number(e.mean)} ± {number(e.sem)}"
    return Cell(text, (("mean", e.mean), ("sem", e.sem), ("n", e.n)), mark or ("absent" if e.n == 0 else ""))


def change(value: float) -> Cell:
    """A signed difference."""
    return Cell(number(value, sign=True), (("", value),))


def span(i: Interval) -> Cell:
    """A 95% interval of a difference."""
    return Cell(interval(i, sign=True), (("low", i.low), ("high", i.high)))


def interval(i: Interval, sign: bool = False) -> str:
    """An interval as text, signed where it is one of a difference."""
    return DASH if math.isnan(i.low) else f"[{number(i.low, sign=sign)}, {number(i.high, sign=sign)}]"


def plural(n: int, thing: str) -> str:
    """`1 seed`, `5 seeds`."""
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


def between(values: Sequence[int]) -> str:
    """`288`, or `17 to 31`."""
    return f"{min(values)}" if min(values) == max(values) else f"{min(values)} to {max(values)}"


def to_csv(table: Table) -> str:
    """The table with one column per number, unrounded."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    header = []
    for place, column in enumerate(table.columns):
        suffixes = [suffix for suffix, _ in table.rows[0][place].values] if table.rows else [""]
        header += [f"{column} {suffix}".strip() for suffix in suffixes]
    writer.writerow(header)
    for row in table.rows:
        writer.writerow(["" if isinstance(v, float) and math.isnan(v) else v for cell in row for _, v in cell.values])
    return out.getvalue()


def to_latex(table: Table) -> str:
    """A booktabs tabular with its caption as a comment."""
    lines = [f"% {table.title}. {table.note}".replace("\n", " "), f"\\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}"]
    lines += ["\\toprule", _latex_row(table.columns), "\\midrule"]
    lines += [_latex_row([cell.text for cell in row]) for row in table.rows]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def _latex_row(texts: Sequence[str]) -> str:
    return " & ".join("".join(LATEX.get(c, c) for c in text) for text in texts) + r" \\"


def to_html(table: Table) -> str:
    """The table in a frame that scrolls sideways on narrow screens, with its note below."""
    every = range(len(table.columns))
    parts = [[*every[: table.fold]], [0, *every[table.fold :]]] if table.fold else [[*every]]
    body = "".join(_html_part(table, places) for places in parts)
    note = f'<p class="note">{html.escape(table.note)}</p>' if table.note else ""
    return f'<figure class="table" id="{table.name}"><figcaption>{html.escape(table.title)}</figcaption>{body}{note}</figure>'


def _html_part(table: Table, places: Sequence[int]) -> str:
    head = "".join(f'<th scope="col">{html.escape(table.columns[place])}</th>' for place in places)
    body = "".join(f"<tr>{''.join(_html_cell(row[place], place) for place in places)}</tr>" for row in table.rows)
    return f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _html_cell(cell: Cell, place: int) -> str:
    tag, scope = ("th", ' scope="row"') if place == 0 else ("td", "")
    mark = f' class="{cell.mark}"' if cell.mark else ""
    return f"<{tag}{scope}{mark}>{html.escape(cell.text)}</{tag}>"
