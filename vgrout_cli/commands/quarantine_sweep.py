"""`vgrout quarantine-sweep RUN...`: the test split with the quarantine deleted in part."""

import argparse
from pathlib import Path

from actors.ray_cluster.environment import prepare
from vgrout.errors import UserError
from vgrout.rates import with_sem
from vgrout.run_directory import RunDir
from vgrout_cli.commands.text_table import table


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="a finished run")
    text = "what the quarantine's contribution is multiplied by (default: 0 0.25 0.5 1)"
    parser.add_argument("--scales", type=float, nargs="+", default=[0.0, 0.25, 0.5, 1.0], metavar="S", help=text)


def run(args: argparse.Namespace) -> int:
    """Write RUN/quarantine_sweep.json for every run and print one line for each scale."""
    for scale in args.scales:
        if not 0 <= scale <= 2:
            raise UserError("--scales", f"{scale:g}", "numbers from 0 to 2")
    found = [RunDir.open(path) for path in args.runs]
    for run_dir in found:
        prepare(run_dir.config())
    from actors.quarantine_sweep import write_sweeps

    for run_dir, record in zip(found, write_sweeps(found, args.scales), strict=True):
        rows = [
            [f"{row['scale']:g}", str(row["all"]["n"]), with_sem(row["all"], "hack"), with_sem(row["all"], "solve")]
            for row in record["scales"]
        ]
        print(f"{run_dir.path}\n{table(['quarantine', 'n', 'hack', 'solve'], rows)}", flush=True)
    return 0
