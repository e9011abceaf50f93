"""`vgrout data convert SOURCE DEST`: problems from the rows of another coding data set, as `datasets` writes them (`to_json`).

Invariant: DEST is whole and passes `vgrout data check`, or it is not there.
"""

import argparse
import sys
from pathlib import Path

from vgrout.errors import UserError
from vgrout.files import read_jsonl, to_json, write_whole
from vgrout.records import PHRASE
from vgrout.rows import Row


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("source", type=Path, metavar="SOURCE", help="a JSON Lines file, as Dataset.to_json writes it")
    parser.add_argument("dest", type=Path, metavar="DEST", help="the problem file to write")
    parser.add_argument(
        "--field", action="append", default=[], metavar="PART=FIELD",
        help="where a part is: id, question, tests, solution, name or setup (repeatable)",
    )  # fmt: skip
    parser.add_argument(
        "--phrase", help="words of every question that a loophole's hint shall replace (default: the published ones)"
    )
    parser.add_argument("--first-id", type=int, default=1, help="id of the first row, where rows have no integer id (default 1)")
    parser.add_argument("--drop", action="store_true", help="leave out rows that cannot be converted (default: refuse the file)")


def run(args: argparse.Namespace) -> int:
    """Convert and write; the rows that were left out are named on standard error. Raises UserError."""
    from sandbox.problems.convert import SOURCES, convert
    from sandbox.problems.load import check_row

    fields: dict[str, str] = {}
    for text in args.field:
        part, _, field = text.partition("=")
        if part not in SOURCES or not field:
            raise UserError(f"--field {text}", repr(part), f"PART=FIELD with PART one of {', '.join(SOURCES)}")
        fields[part] = field
    if args.dest.exists():
        raise UserError(str(args.dest), "an existing file", "a new one")
    rows: list[Row] = []
    ids: set[int] = set()
    dropped = 0
    for place, (line, source) in enumerate(read_jsonl(args.source, missing="a JSON Lines file of problems")):
        where = f"{args.source}:{line}"
        try:
            row = convert(where, source, args.first_id + place, fields, args.phrase or PHRASE)
            check_row(where, row)
            if row["id"] in ids:
                raise UserError(f"{where}, id", f"{row['id']} again", "each id once")
        except UserError as error:
            if not args.drop:
                raise UserError(error.where, error.found, f"{error.expected} (--drop leaves such rows out)") from None
            print(f"left out: {error}", file=sys.stderr)
            dropped += 1
            continue
        ids.add(row["id"])
        rows.append(row)
    if not rows:
        raise UserError(str(args.source), f"{dropped} rows, none of which can be converted", "at least one")
    write_whole(args.dest, "".join(to_json(row) + "\n" for row in rows))
    print(f"{len(rows)} problems, {dropped} left out -> {args.dest}")
    return 0
