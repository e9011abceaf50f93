"""`vgrout report`: the paper's tables, figures and checks of runs and suites, in one page and as files."""

import argparse
from pathlib import Path

from vgrout.errors import UserError


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "paths", type=Path, nargs="+", metavar="RUN_OR_SUITE", help="run directories and folders of `vgrout suite`"
    )
    parser.add_argument("--out", type=Path, default=Path("report"), help="folder of report.html, figures/ and tables/")


def run(args: argparse.Namespace) -> int:
    """Build the report, print its verdict and where it is."""
    from vgrout_cli.report.build import build
    from vgrout_cli.report.terms import terms
    from vgrout_cli.report.verdict import verdict

    if args.out.exists() and not args.out.is_dir():
        raise UserError("--out", f"the file {args.out}", "a folder")
    found = build(args.paths, args.out)
    print(*terms(found), sep="\n")
    for sentence in verdict(found):
        print(f"{sentence.outcome:<4}  {sentence.claim}: {sentence.evidence}")
    print(args.out / "report.html")
    return 0
