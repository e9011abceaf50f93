"""`vgrout eval RUN`: score the last (or a given) checkpoint on a split, as trained and deployed, per mode."""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from vgrout.files import to_json
from vgrout.rates import with_sem
from vgrout.rows import Row
from vgrout_cli import api


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("run_dir", type=Path, metavar="RUN", help="a run directory")
    parser.add_argument("--checkpoint", type=int, help="updates done at the checkpoint (default: the last)")
    parser.add_argument("--split", choices=("test", "validation", "train"), default="test", help="the problems (default: test)")
    parser.add_argument("--samples", type=int, help="completions per problem (default: the run's eval.samples)")
    parser.add_argument("--accept-changes", action="store_true", help="go on though data or base changed; noted in run.json")
    parser.add_argument("--json", action="store_true", help="print the record as JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    """Evaluate into eval/<split>_<update>.json (and per_mode_deploy.json: last checkpoint, test split), print a table."""
    with only_answers_on_stdout():
        record = api.evaluate(
            args.run_dir,
            split=args.split,
            checkpoint=args.checkpoint,
            samples=args.samples,
            accept_changes=args.accept_changes,
        )
    print(to_json(record) if args.json else table(record))
    return 0


@contextmanager
def only_answers_on_stdout() -> Iterator[None]:
    """Send to standard error what libraries print, from Python or from C, while an evaluation runs."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def table(record: Row) -> str:
    """A text table of one evaluation record: hack and solve per mode, as trained and deployed, with n and SEM."""
    lines = [
        f"update {record['update']}, {record['split']} split",
        f"{'mode':<14} {'n':>4}  {'as trained':^26}  {'deployed':^26}",
    ]
    lines.append(f"{'':<19}  {'hack':>12} {'solve':>13}  {'hack':>12} {'solve':>13}")
    for mode in sorted(record["train"], key=lambda m: (m != "all", m)):
        cells = []
        for policy in ("train", "deploy"):
            c = record[policy][mode]
            cells += [with_sem(c, what) for what in ("hack", "solve")]
        lines.append(f"{mode:<14} {record['train'][mode]['n']:>4}  {cells[0]:>12} {cells[1]:>13}  {cells[2]:>12} {cells[3]:>13}")
    return "\n".join(lines)
