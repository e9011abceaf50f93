"""`vgrout data check-loophole FILE...`: read plug-in loopholes and grade their own programs in the jail.

Invariant: the exit code is 0 only if every example is paid and wrong, and no attack and no plain wrong program is paid.
"""

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vgrout data check-loophole`."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a loophole in Python (docs/extending.md)")
    parser.add_argument("--jail", default="auto", help="auto (default), L3, L2, or L1 by explicit choice")


def run(args: argparse.Namespace) -> int:
    """Check and report. Returns 0 for sound loopholes, 2 where anything was found."""
    from sandbox.jail.linux import require_linux

    require_linux()
    from sandbox.grading.grader import Grader
    from sandbox.grading.loophole_check import check
    from sandbox.loopholes.plug_in import read

    loopholes = read(args.files)
    faults = []
    with Grader(args.jail, loopholes=loopholes.values()) as grader:
        for one in loopholes.values():
            tried = check(one, grader)
            bad = [t for t in tried if not t.good]
            attacks = len(one.attacks)
            print(f"{one.place}: loophole {one.name}, {attacks} attacks, graded at {grader.level}; {len(bad)} findings")
            faults += [f"{one.place}, {t}" for t in bad]
    for fault in faults:
        print(fault)
    return 2 if faults else 0
