"""`vgrout list [FOLDER...]`: one line for each run directory."""

import argparse
from pathlib import Path

from vgrout.rows import Row
from vgrout_cli.commands.text_table import number, table
from vgrout_cli.view.reader import RunView, find_runs

HEAD = ("run", "arm", "seed", "state", "updates", "hack", "solve", "started")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("runs", nargs="*", type=Path, default=[Path("out")], help="folders that hold runs (default: out)")


def run(args: argparse.Namespace) -> int:
    """Print the table, oldest run first. The exit code is 1 where there is no run."""
    found = [(str(path), RunView(path)) for path in find_runs(args.runs)]
    if not found:
        print(f"no run directory in {', '.join(map(str, args.runs))}")
        return 1
    found.sort(key=lambda pair: str(pair[1].about.get("started", "")))
    print(table(HEAD, [_line(name, view.summary(), view.about) for name, view in found]))
    return 0


def _line(name: str, summary: Row, about: Row) -> list[str]:
    started = str(about.get("started", ""))[:16].replace("T", " ")
    done = f"{summary['updates']}/{summary['planned']}"
    rates = [number(summary["hack"]), number(summary["solve"])]
    return [name, str(summary["arm"]), str(summary["seed"]), summary["state"], done, *rates, started]
