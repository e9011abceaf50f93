"""`vgrout fetch RUN DEST`: copy a run's deploy export and metrics, from a shared path or from a node of a Ray cluster."""

import argparse
import sys
from pathlib import Path

from vgrout.errors import UserError
from vgrout.run_transfer import WEIGHTS, collect, deliver


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("run_dir", type=Path, metavar="RUN", help="the run directory (on the cluster: its absolute path there)")
    parser.add_argument("dest", type=Path, metavar="DEST", help="a new folder")
    parser.add_argument("--address", help="the Ray cluster whose nodes are asked for RUN: auto, HOST:6379 or ray://HOST:10001")


def run(args: argparse.Namespace) -> int:
    """Fetch, check, print the folder. Works while the job runs: then there is no deploy export yet."""
    if args.dest.exists():
        raise UserError(str(args.dest), "an existing file or folder", "a new folder (nothing is overwritten)")
    if args.address is None:
        files = collect(args.run_dir)
        where = "this machine"
    else:
        if not args.run_dir.is_absolute():
            raise UserError("RUN", str(args.run_dir), "an absolute path, since it is looked up on the cluster's nodes")
        from actors.ray_cluster.remote_files import collect_from_cluster

        files, where = collect_from_cluster(args.address, args.run_dir)
    if not files:
        raise UserError(str(args.run_dir), f"no run.json on {where}", "a run directory made by `vgrout train`")
    deliver(files, args.dest)
    if WEIGHTS not in files:
        print(
            "note: no deploy export yet (the run has not ended); `vgrout export RUN` makes one of a checkpoint", file=sys.stderr
        )
    print(args.dest)
    return 0
