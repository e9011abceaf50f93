"""`vgrout compare RUN RUN`: how two runs differ, in what they were asked to do and in what came out."""

import argparse
from pathlib import Path

from vgrout.config_relaxed import marked
from vgrout.errors import UserError
from vgrout.run_directory import RunDir
from vgrout_cli.commands.text_table import number, table
from vgrout_cli.view.difference import asked, differences, means


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
    about = [run.about() for run in runs]
    names = [marked(place, one["config"]) for place, one in zip(("first", "second"), about, strict=True)]
    differing = differences(*map(asked, about))
    print("what differs:" if differing else "configuration, versions and data are the same")
    if differing:
        print(table(("field", *names), differing))
    first, second = (run.metrics() for run in runs)
    common = sorted({row["update"] for row in first} & {row["update"] for row in second})[-args.last :]
    if not common:
        print("\nno update is in both runs")
        return 0
    print(f"\nmeans over updates {common[0]} to {common[-1]}, which both runs have:")
    lines = [[name, number(a), number(b), f"{b - a:+.4g}"] for name, a, b in means(first, second, set(common))]
    print(table(("metric", *names, "second - first"), lines))
    return 0
