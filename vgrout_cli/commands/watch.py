"""`vgrout watch RUN`: follow a run in the terminal, one line for each update."""

import argparse
import time
from pathlib import Path

from vgrout.errors import UserError
from vgrout.rows import Row
from vgrout_cli.commands.text_table import number
from vgrout_cli.view.reader import RunView

SHOWN = {
    "reward/mean": "reward", "rate/hack": "hack", "rate/solve": "solve", "gate/share_clean": "clean", "gate/share_mid": "mid",
    "gate/share_hack": "hack label", "kl/reference": "KL", "entropy": "entropy", "tokens_per_second": "tokens/s",
}  # fmt: skip
POLL_S = 1.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("path", metavar="RUN", type=Path, help="a run directory")
    parser.add_argument("--last", type=int, default=10, metavar="N", help="begin with the last N updates")


def run(args: argparse.Namespace) -> int:
    """Print updates as they are logged, until the run has ended. Raises UserError where the folder is no run."""
    if args.last < 0:
        raise UserError("--last", str(args.last), "at least 0")
    if not (args.path / "run.json").is_file():
        raise UserError(str(args.path), "no run.json", "a run directory made by `vgrout train`")
    view = RunView(args.path)
    print("update     " + "  ".join(f"{head:>11}" for head in SHOWN.values()), flush=True)
    state = view.summary()
    for row in view.metrics.records[max(0, len(view.metrics.records) - args.last) :]:
        print(_line(row, state["planned"]), flush=True)
    seen, generation = len(view.metrics.records), view.metrics.generation
    while state["state"] == "running":
        time.sleep(POLL_S)
        state = view.summary()
        if view.metrics.generation != generation:  # resumed: updates are logged anew
            generation, seen = view.metrics.generation, 0
        for row in view.metrics.records[seen:]:
            print(_line(row, state["planned"]), flush=True)
        seen = len(view.metrics.records)
    print(f"{state['state']} after {state['updates']} of {state['planned']} updates")
    return 0


def _line(row: Row, planned: int) -> str:
    place = f"{row['update'] + 1}/{planned}"
    return f"{place:<11}" + "  ".join(f"{number(row.get(name)):>11}" for name in SHOWN)
