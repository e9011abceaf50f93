"""Draw docs/figures/method.svg: from a rollout's score to its gate label, and what each label trains.

Run it with `python docs/scripts/method_figure.py [OUT]`. The same version of matplotlib draws the same bytes. The curves are a
drawing, not data: measured scores are in docs/results/tiny/figures/a7_scores.svg.
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import FancyArrowPatch, Rectangle

BLUE, ORANGE, GREY, INK = "#0072b2", "#d55e00", "#8a8f98", "#1b1f24"
LABELS = {
    "clean": ("score below the band", "m = 0, d = 0", "trains", "absent"),
    "mid": ("score inside the band", "m = 1, d = 0", "trains", "trains"),
    "hack": ("score above the band", "m = 1, d = 1", "used, frozen", "trains"),
}
HERE = Path(__file__).parent.parent / "figures" / "method.svg"


def scores(ax) -> None:
    """The score axis with the band between the sides of the authored pairs."""
    x = np.linspace(-0.35, 0.65, 120)
    for centre, width, colour, name in ((0.0, 0.07, BLUE, "honest rollouts"), (0.34, 0.09, ORANGE, "hacks")):
        y = np.exp(-(((x - centre) / width) ** 2) / 2)
        ax.fill_between(x, y, color=colour, alpha=0.25, lw=0)
        ax.text(centre, 1.04, name, color=colour, ha="center", va="bottom")
    lower, upper = 0.1, 0.19
    ax.axvspan(lower, upper, color=GREY, alpha=0.3, lw=0)
    for edge, text, side in ((lower, "lower edge", "right"), (upper, "upper edge", "left")):
        ax.axvline(edge, color=INK, lw=1)
        ax.text(edge + (-0.008 if side == "right" else 0.008), 1.24, text, ha=side, va="bottom", color=INK)
    for centre, name in ((-0.15, "clean"), ((lower + upper) / 2, "mid"), (0.5, "hack")):
        ax.text(centre, 0.45, name, ha="center", weight="bold", color=INK)
    ax.set(ylim=(0, 1.4), xlim=(x[0], x[-1]), yticks=[], xticks=[0.0], xticklabels=["0"])
    ax.set_xlabel("score of a rollout: mean over modules of cos(c-probe, v_grad)", color=INK)
    for side in ("top", "left", "right"):
        ax.spines[side].set_visible(False)


def blocks(ax, label: str) -> None:
    """What one label does with the two blocks of the adapter."""
    title, masks, deployed, quarantine = LABELS[label]
    ax.set(xlim=(0, 10), ylim=(0, 7.4))
    ax.axis("off")
    ax.text(5, 7.1, f"{label}: {title}", ha="center", va="top", weight="bold", color=INK)
    ax.text(5, 6.2, masks, ha="center", va="top", color=INK)
    parts = (("base, frozen", GREY, "frozen"), ("deployed block", BLUE, deployed), ("quarantine block", ORANGE, quarantine))
    for x, (name, colour, state) in zip((0.2, 3.5, 6.8), parts, strict=True):
        absent = state == "absent"
        fill = "none" if absent else colour
        style = "--" if absent else "-"
        ax.add_patch(Rectangle((x, 2.9), 3.0, 1.5, facecolor=fill, edgecolor=colour, lw=1.5, ls=style, alpha=0.35))
        ax.text(x + 1.5, 3.65, name.replace(" block", "\nblock").replace(", ", ",\n"), ha="center", va="center", color=INK)
        if state == "trains":
            arrow = FancyArrowPatch((x + 1.5, 1.1), (x + 1.5, 2.8), arrowstyle="-|>", mutation_scale=14, color=colour, lw=2)
            ax.add_patch(arrow)
        ax.text(x + 1.5, 0.9, {"trains": "gradient", "frozen": ""}.get(state, state), ha="center", va="top", color=INK)


def draw(out: Path) -> None:
    """Write the figure."""
    plt.rcParams.update({"svg.hashsalt": "vgrout", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10})
    figure = plt.figure(figsize=(9.6, 5.0), facecolor="white")
    grid = figure.add_gridspec(
        2, 3, height_ratios=(1.25, 1), hspace=0.45, wspace=0.08, left=0.03, right=0.97, top=0.97, bottom=0.03
    )
    scores(figure.add_subplot(grid[0, :]))
    for column, label in enumerate(LABELS):
        blocks(figure.add_subplot(grid[1, column]), label)
    figure.savefig(out, metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
