"""What the page shows of several runs at once: suites as grids, and two runs side by side. Nothing is written."""

from collections.abc import Mapping
from pathlib import Path

from vgrout.errors import UserError
from vgrout.files import read_json
from vgrout.rows import Row
from vgrout_cli.view.difference import asked, differences, means
from vgrout_cli.view.reader import RunView

LAST = 10


def suite_grids(summaries: list[Row], views: Mapping[str, RunView]) -> list[Row]:
    """Every suite that a run lies in: its arms and seeds, and for each run its summary or what suite.json says of it."""
    by_path = dict(zip(views, summaries, strict=True))
    folders = dict.fromkeys(Path(path).parent.parent for path in views)
    return [grid for folder in folders if (grid := _grid(folder, by_path)) is not None]


def _grid(folder: Path, by_path: Mapping[str, Row]) -> Row | None:
    try:
        about = read_json(folder / "suite.json", "suite.json as `vgrout suite` writes it")
        arms, seeds, said = list(about["arms"]), list(about["seeds"]), dict(about["runs"])
    except (OSError, UserError, LookupError, TypeError, ValueError):  # none, or half written: perhaps next time
        return None
    cells = []
    for arm in arms:
        names = [f"{arm}/seed{seed}" for seed in seeds]
        cells.append(
            [by_path.get(str(folder / name)) or {"state": said.get(name, {}).get("status", "missing")} for name in names]
        )
        for cell, name in zip(cells[-1], names, strict=True):
            if said.get(name, {}).get("status") == "failed":
                cell |= {"state": "failed", "error": said[name].get("error", "")}
    titles = [next((cell["title"] for cell in row if "title" in cell), arm) for arm, row in zip(arms, cells, strict=True)]
    name = str(about.get("suite", folder.name))
    return {"suite": name, "folder": str(folder), "titles": titles, "seeds": seeds, "cells": cells}


def _cell(summary: Row | None, said: Row) -> Row:
    if said.get("status") == "failed":
        return {**(summary or {}), "state": "failed", "error": said.get("error", "")}
    return summary or {"state": said.get("status", "missing")}


def side_by_side(first: RunView, second: RunView) -> Row:
    """How two runs differ: fields, and the means of their metrics over the last LAST updates that both have."""
    for view in (first, second):
        view.summary()  # reads what has been added
    rows = first.metrics.records, second.metrics.records
    common = sorted({row["update"] for row in rows[0]} & {row["update"] for row in rows[1]})
    last = common[-LAST:]
    return {
        "fields": differences(asked(first.about), asked(second.about)),
        "updates": common,
        "over": last,
        "metrics": means(*rows, set(last)) if last else [],
    }
