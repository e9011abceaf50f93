"""Write docs/reference/cli.md from the command line's own parser: `python docs/scripts/cli_reference.py [OUT]`.

tests/docs/test_cli_reference.py compares the committed page with what this script writes.
"""

import argparse
import sys
from pathlib import Path

from vgrout_cli.main import parser

HERE = Path(__file__).parent.parent / "reference" / "cli.md"
HEAD = """# Command line

Generated from the command line's own help by `docs/scripts/cli_reference.py`; a test keeps the two equal.
`vgrout COMMAND --help` prints the same.

Bad input ends in one message on standard error and exit code 2.
SIGINT (Ctrl-C) and SIGTERM stop a training run at a checkpoint, with exit code 130 or 143.
"""


def cell(text: str) -> str:
    """Text for a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def name_of(action: argparse.Action) -> str:
    """How an argument is written: `--out OUT`, or `RUN`."""
    if not action.option_strings:
        label = action.metavar or action.dest
        many = {"+": f"{label} ...", "*": f"[{label} ...]", "?": f"[{label}]"}
        return many.get(str(action.nargs), str(label))
    value = ""
    if action.nargs != 0:
        choices = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper()
        value = f" {action.metavar or choices}"
    return ", ".join(action.option_strings) + value


def commands(root: argparse.ArgumentParser, name: str) -> list[str]:
    """The sections of a parser and of everything below it."""
    lines = []
    groups = [a for a in root._actions if isinstance(a, argparse._SubParsersAction)]
    rows = [a for a in root._actions if a not in groups and not isinstance(a, argparse._HelpAction)]
    if name != "vgrout":
        lines += [f"## {name}", "", " ".join((root.description or "").split()), ""]
    if rows:
        lines += ["| argument | meaning |", "| --- | --- |"]
        lines += [
            f"| `{name_of(a)}` | {cell(a.help or '')}{' (required)' if a.option_strings and a.required else ''} |" for a in rows
        ]
        lines += [""]
    for group in groups:
        for sub, child in group.choices.items():
            lines += commands(child, f"{name} {sub}")
    return lines


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *commands(parser(), "vgrout")]).rstrip() + "\n"


if __name__ == "__main__":
    (Path(sys.argv[1]) if len(sys.argv) > 1 else HERE).write_text(page())
