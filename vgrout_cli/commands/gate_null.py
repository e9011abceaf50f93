"""`vgrout gate-null RUN...`: v_grad against random directions on a run's own rollouts."""

import argparse
from pathlib import Path

from vgrout.errors import UserError
from vgrout.run_directory import RunDir
from vgrout_cli.commands.text_table import table


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="a finished run whose gate scores with v_grad")
    parser.add_argument("--draws", type=int, default=200, help="random directions (default: 200)")
    parser.add_argument("--rollouts", type=int, default=576, help="rollouts at most, drawn evenly (default: 576)")


def run(args: argparse.Namespace) -> int:
    """Write RUN/gate_null.json for every run and print one line for each."""
    for name in ("draws", "rollouts"):
        if getattr(args, name) < 2:
            raise UserError(f"--{name}", str(getattr(args, name)), "at least 2")
    found = [RunDir.open(path) for path in args.runs]
    from actors.haar_null import write_null

    rows = []
    for run_dir in found:
        record = write_null(run_dir, args.draws, args.rollouts)
        null, at_or_above = record["null"], record["share_at_or_above"]
        measured = (record["auroc"], null["mean"], null["sd"], null["p95"], at_or_above)
        rows.append([str(run_dir.path), str(record["hacks"]), str(record["rollouts"]), *(f"{value:.3f}" for value in measured)])
    print(table(["run", "hacks", "of", "AUROC", "Haar mean", "Haar sd", "Haar p95", "Haar >= v_grad"], rows))
    return 0
