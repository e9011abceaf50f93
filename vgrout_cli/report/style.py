"""One style for every figure: the palette of the arms, a canvas, and its PNG and SVG; and the demo's picture.

Invariant: an arm has one colour, dash and marker everywhere, so it can be told without colour; the same numbers give the
same bytes. Colours are in the order of Okabe and Ito, darkened to a contrast of at least 3:1 on white.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vgrout.files import write_whole
from vgrout.rows import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.typing import RcKeyType

INK = "#1d232b"
GRID = "#b9c0c8"


@dataclass(frozen=True)
class Look:
    """How one line looks: colour on white, colour on black (for the report's dark page), dash, marker."""

    light: str
    dark: str
    dash: str = "-"
    marker: str = "o"


LOOKS = {
    "base": Look("#707780", "#a3abb5", ":", "x"),
    "vanilla": Look("#c44e00", "#ff9152", "-", "o"),
    "vanilla_full": Look("#966500", "#e3b341", "--", "s"),
    "routev": Look("#0067a5", "#5cb5f2", "-", "D"),
    "routev_ub": Look("#2a86bd", "#a4d8f7", "--", "^"),
    "placebo": Look("#a8478a", "#e79dcb", "-", "v"),
    "placebo_ub": Look("#6f3fa0", "#c6a0f0", "--", "P"),
    "absorb": Look("#007a55", "#43c99f", "-.", "h"),
    "ceiling": Look("#454b52", "#d3d8de", ":", "*"),
    "hacks": Look("#b84300", "#ff9a5c", "-", "o"),  # what the audit says of rollouts, whatever the arm
    "others": Look("#1f5f99", "#6bb8ee", "--", "s"),
}
OTHER = Look("#5b4a3f", "#c9b7a8", "-", "d")


def look(name: str) -> Look:
    """The look of an arm (one for all that are not in the table)."""
    return LOOKS.get(name, OTHER)


STYLE: "dict[RcKeyType, object]" = {
    "font.size": 9, "axes.titlesize": 9.5, "axes.titleweight": "bold", "legend.fontsize": 7.5, "svg.fonttype": "none",
    "svg.hashsalt": "vgrout", "text.color": INK, "axes.edgecolor": INK, "axes.labelcolor": INK, "axes.titlecolor": INK,
    "xtick.color": INK, "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "grid.color": GRID, "grid.linewidth": 0.5, "grid.alpha": 0.6, "lines.linewidth": 1.6, "lines.markersize": 4,
    "legend.frameon": False, "figure.facecolor": "none", "axes.facecolor": "none", "axes.titlelocation": "left",
    "legend.handlelength": 3.4, "hatch.linewidth": 0.5,
}  # fmt: skip


@contextmanager
def canvas(panels: int = 1) -> Iterator[tuple["Figure", list["Axes"]]]:
    """A figure with panels side by side in the one style, as (figure, axes); draw and save inside the block."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, panels, figsize=(4.4 * panels, 3.3), layout="constrained", squeeze=False)
        try:
            yield figure, list(axes[0])
        finally:
            plt.close(figure)


def svg(figure: "Figure") -> str:
    """The figure as SVG text, without a date."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def png(figure: "Figure") -> bytes:
    """The figure as PNG bytes on white."""
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=160, facecolor="white", metadata={"Software": None})
    return data.getvalue()


def rates(axis: "Axes", title: str, unit: str = "share of rollouts") -> None:
    """Make an axis one of rates over updates."""
    over_updates(axis, title, unit)
    axis.set_ylim(-0.02, 1.02)


def over_updates(axis: "Axes", title: str, unit: str = "") -> None:
    """Make an axis one over updates, with whole ticks."""
    axis.set(title=title, xlabel="update", ylabel=unit)
    axis.locator_params(axis="x", integer=True)


def draw_curves(curves: dict[str, list[Row]], path: Path) -> None:
    """One PNG, two panels (hack, solve), one line per arm and policy with a band of ± 1 SEM."""
    with canvas(2) as (figure, axes):
        for axis, what in zip(axes, ("hack", "solve"), strict=True):
            for arm, records in curves.items():
                for policy, dash in (("train", "--"), ("deploy", "-")):
                    x = [r["update"] for r in records]
                    y = [r[policy]["all"][f"{what}_rate"] for r in records]
                    sem = [r[policy]["all"][f"{what}_sem"] or 0.0 for r in records]
                    label = f"{arm}, {'deployed' if policy == 'deploy' else 'as trained'}"
                    axis.plot(x, y, dash, marker=look(arm).marker, color=look(arm).light, label=label)
                    low, high = ([v + sign * s for v, s in zip(y, sem, strict=True)] for sign in (-1, 1))
                    axis.fill_between(x, low, high, color=look(arm).light, alpha=0.15, linewidth=0)
            rates(axis, f"{what} rate on the test split", "share of answers")
        axes[0].legend()
        write_whole(path, png(figure))
