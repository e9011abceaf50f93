"""How two runs differ, in what they were asked to do and in what came out: for `vgrout compare` and the page. No I/O."""

import json
from statistics import fmean
from typing import Any

from vgrout.rows import Row
from vgrout_cli.suite.comparable import flatten

FACTS = ("commit", "versions", "digests")


def asked(about: Row) -> Row:
    """What a run was asked to do and of what it was made, by dotted name."""
    return flatten(about["config"]) | flatten({name: about.get(name) for name in FACTS})


def differences(first: Row, second: Row) -> list[list[str]]:
    """(name, first, second) of every field that differs."""
    names = [*first, *(name for name in second if name not in first)]
    cells = [(name, *(_short(side.get(name)) for side in (first, second))) for name in names]
    return [list(row) for row in cells if row[1] != row[2]]


def means(first: list[Row], second: list[Row], updates: set[int]) -> list[tuple[str, float, float]]:
    """(name, first, second) of each number that both runs log in every one of these updates."""
    sides = [[row for row in rows if row["update"] in updates] for rows in (first, second)]
    lines = []
    for name in sides[0][0]:
        columns: list[list[Any]] = [[row.get(name) for row in rows] for rows in sides]
        if name == "update" or not all(_is_number(value) for column in columns for value in column):
            continue
        lines.append((name, *map(fmean, columns)))
    return lines


def _short(value: object) -> str:
    text = "-" if value is None else json.dumps(value)
    return text if len(text) <= 48 else text[:45] + "..."


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
