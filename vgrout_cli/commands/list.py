"""`vgrout list [FOLDER...]`: one line for each run directory."""

import argparse
import sys
from pathlib import Path

from vgrout.errors import UserError
from vgrout.rows import Row
from vgrout_cli.commands.text_table import number, table
from vgrout_cli.view.reader import RunView, find_runs

DEFAULT = Path("out")
HEAD = ("run", "arm", "seed", "state", "updates", "hack", "solve", "started")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("runs", nargs="*", type=Path, default=[DEFAULT], help="folders that hold runs (default: out)")


def run(args: argparse.Namespace) -> int:
    """Print the table, oldest run first. The exit code is 1 where there is no run, 2 where one cannot be read."""
    if missing := [path for path in args.runs if not path.is_dir() and path != DEFAULT]:
        raise UserError(str(missing[0]), "no such folder", "a folder that holds runs")
    found, unreadable = [], []
    for path in find_runs(args.runs):
        try:
            found.append((str(path), RunView(path)))
        except UserError as error:
            unreadable.append(error)
    for error in unreadable:
        print(f"vgrout: {error}", file=sys.stderr)
    if not found and not unreadable:
        print(f"no run directory in {', '.join(map(str, args.runs))}")
        return 1
    found.sort(key=lambda pair: str(pair[1].about.get("started", "")))
    if found:
        print(table(HEAD, [_line(name, view.summary(), view.about) for name, view in found]))
    return 2 if unreadable else 0


def _line(name: str, summary: Row, about: Row) -> list[str]:
    started = str(about.get("started", ""))[:16].replace("T", " ")
    done = f"{summary['updates']}/{summary['planned']}"
    rates = [number(summary["hack"]), number(summary["solve"])]
    return [name, summary["title"], str(summary["seed"]), summary["state"], done, *rates, started]
