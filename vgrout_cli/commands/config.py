"""`vgrout config [FIELD]`: what a field of the configuration means, which values it takes and what its default is."""

import argparse
import json

from vgrout.config_reference import describe, fields, markdown, schema


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("field", nargs="?", metavar="FIELD", help="a field, e.g. rollout.samples, or a section (default: all)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="print the reference page (docs/reference/config.md)")
    form.add_argument("--schema", action="store_true", help="print the JSON schema for editors (configs/schema.json)")


def run(args: argparse.Namespace) -> int:
    """Print."""
    if args.markdown:
        print(markdown(), end="")
    elif args.schema:
        print(json.dumps(schema(), indent=2))
    elif args.field is not None:
        print(describe(args.field))
    else:
        for section in dict.fromkeys(name.split(".")[0].split("[")[0] for name in fields()):
            print(describe(section))
    return 0
