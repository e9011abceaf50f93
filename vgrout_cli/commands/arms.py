"""`vgrout arms`: list the arms, what each one means and what it changes."""

import argparse
import textwrap
from pathlib import Path

from vgrout.arms import arms_of
from vgrout.named_files import find
from vgrout_cli.suite.comparable import flatten


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("config", type=Path, nargs="?", default=Path("tiny"), help="a preset, by name or path: its own arms, too")


def run(args: argparse.Namespace) -> int:
    """Print every arm."""
    for arm in arms_of(find("", args.config)):
        print(arm.name)
        print(textwrap.fill(arm.meaning, 110, initial_indent="    ", subsequent_indent="    "))
        print("    " + ", ".join(f"{name}={value}" for name, value in flatten(arm.changes).items()))
    return 0
