"""`vgrout data check-pairs FILE`: grade both sides of every authored pair and report each label that does not hold.

Invariant: the hack side must be wrong and (but for `general` pairs) exploited in the mode of its tag, the clean side correct
and no exploit, and both about equally long; the exit code is 0 only if all of this holds for every pair.
"""

import argparse
from collections import Counter
from pathlib import Path

from vgrout.errors import UserError
from vgrout.pairs import LENGTH_TOLERANCE


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vgrout data check-pairs`."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a pair file in JSON Lines form")
    help_text = f"largest difference of the sides' lengths, as a share of the longer one (default {LENGTH_TOLERANCE})"
    parser.add_argument("--length", type=float, default=LENGTH_TOLERANCE, metavar="SHARE", help=help_text)
    parser.add_argument("--jail", default="auto", help="auto (default), L3, L2, or L1 by explicit choice")
    parser.add_argument(
        "--loophole", type=Path, action="append", default=[], metavar="FILE.py", help="a loophole of your own (repeatable)"
    )


def run(args: argparse.Namespace) -> int:
    """Check and report. Returns 0 for sound pairs, 2 where anything was found."""
    from sandbox.jail.linux import require_linux

    require_linux()
    from sandbox.grading.grader import Grader
    from sandbox.grading.pair_check import check
    from sandbox.loopholes.plug_in import read

    if not 0 <= args.length <= 1:
        raise UserError("--length", str(args.length), "a share from 0 to 1")
    with Grader(args.jail, loopholes=read(args.loophole).values()) as grader:
        checked = check(args.file, grader)
    faults = [f"{args.file}, pair {one.pair.id}, {fault}" for one in checked for fault in one.faults(args.length)]
    tags = ", ".join(f"{count} {tag}" for tag, count in sorted(Counter(one.pair.tag for one in checked).items()))
    differences = [one.length_difference for one in checked]
    print(
        f"{args.file}: {len(checked)} pairs ({tags}), {sum(one.gradable for one in checked)} gradable, graded at {grader.level}"
    )
    mean, most = sum(differences) / len(differences), max(map(abs, differences))
    print(f"length of hack against clean side: {mean:+.1%} on average, {most:.1%} at most; {len(faults)} findings")
    for fault in faults:
        print(fault)
    return 2 if faults else 0
