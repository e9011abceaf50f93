"""`vgrout compare RUN RUN`: how two runs differ, in what they were asked to do and in what came out."""

import argparse
import json
from pathlib import Path
from statistics import fmean

from vgrout.errors import UserError
from vgrout.rows import Row
from vgrout.run_directory import RunDir
from vgrout_cli.commands.text_table import number, table
from vgrout_cli.suite.comparable import flatten

FACTS = ("commit", "versions", "digests")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("first", type=Path, help="a run directory")
    parser.add_argument("second", type=Path, help="the run directory to compare it with")
    parser.add_argument("--last", type=int, default=10, metavar="N", help="average the metrics of the last N common updates")


def run(args: argparse.Namespace) -> int:
    """Print the fields that differ and the metrics side by side. Raises UserError where a folder is no run."""
    if args.last < 1:
        raise UserError("--last", str(args.last), "at least 1")
    runs = [RunDir.open(args.first), RunDir.open(args.second)]
    differing = _differences(*(_asked(run.about()) for run in runs))
    print("what differs:" if differing else "configuration, versions and data are the same")
    if differing:
        print(table(("field", "first", "second"), differing))
    first, second = (run.metrics() for run in runs)
    common = sorted({row["update"] for row in first} & {row["update"] for row in second})[-args.last :]
    if not common:
        print("\nno update is in both runs")
        return 0
    print(f"\nmeans over updates {common[0]} to {common[-1]}, which both runs have:")
    print(table(("metric", "first", "second", "second - first"), _means(first, second, set(common))))
    return 0


def _asked(about: Row) -> Row:
    return flatten(about["config"]) | flatten({name: about.get(name) for name in FACTS})


def _differences(first: Row, second: Row) -> list[list[str]]:
    names = [*first, *(name for name in second if name not in first)]
    cells = [(name, *(_short(side.get(name)) for side in (first, second))) for name in names]
    return [list(row) for row in cells if row[1] != row[2]]


def _means(first: list[Row], second: list[Row], updates: set[int]) -> list[list[str]]:
    """One line for each number that both runs log in every one of these updates."""
    sides = [[row for row in rows if row["update"] in updates] for rows in (first, second)]
    lines = []
    for name in sides[0][0]:
        columns = [[row.get(name) for row in rows] for rows in sides]
        if name == "update" or any(number(value) == "-" for column in columns for value in column):
            continue
        a, b = (fmean(value for value in column if value is not None) for column in columns)
        lines.append([name, number(a), number(b), f"{b - a:+.4g}"])
    return lines


def _short(value: object) -> str:
    text = "-" if value is None else json.dumps(value)
    return text if len(text) <= 48 else text[:45] + "..."
