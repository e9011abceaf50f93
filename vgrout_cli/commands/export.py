"""`vgrout export RUN`: write a checkpoint's deployed block (or, on request, both blocks) as a standard PEFT folder."""

import argparse
import sys
from pathlib import Path

from vgrout.errors import UserError
from vgrout.files import file_sha256
from vgrout.run_directory import RunDir
from vgrout.run_transfer import deliver
from vgrout_cli import api


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("run_dir", type=Path, metavar="RUN", help="a run directory")
    parser.add_argument("--push-to", type=Path, metavar="PATH", help="also copy the folder to PATH/<run>_<update>_<block>, whole")
    parser.add_argument("--checkpoint", type=int, help="updates done at the checkpoint (default: the last)")
    parser.add_argument(
        "--block", choices=("deploy", "train"), default="deploy", help="deployed block, or both (default: deploy)"
    )
    parser.add_argument("--dtype", choices=("fp32", "bf16"), default="fp32", help="of the tensors (default: fp32)")
    parser.add_argument("--accept-changes", action="store_true", help="go on though the base changed; noted in run.json")
    parser.add_argument("--out", type=Path, help="the PEFT folder (default: RUN/exports/<update>_<block>_<dtype>)")


def run(args: argparse.Namespace) -> int:
    """Export; prints the folder. Says so where the export holds the quarantine."""
    run_dir = RunDir.open(args.run_dir)
    version = args.checkpoint if args.checkpoint is not None else max(run_dir.checkpoints(), default=0)
    if args.push_to is not None and not args.push_to.is_dir():
        raise UserError("--push-to", f"{args.push_to} (no such folder)", "an existing folder, such as a mounted share")
    out = api.export(
        args.run_dir,
        args.out,
        checkpoint=version,
        block=args.block,
        dtype=args.dtype,
        accept_changes=args.accept_changes,
    )
    if args.block == "train":
        print("note: this export CONTAINS THE QUARANTINE (both blocks); deploy only --block deploy", file=sys.stderr)
    print(out)
    if args.push_to is not None:
        place = args.push_to / f"{run_dir.path.resolve().name}_{version:05d}_{args.block}_{args.dtype}"
        deliver({p.name: (file_sha256(p), p.read_bytes()) for p in sorted(out.iterdir())}, place)
        print(place)
    return 0
