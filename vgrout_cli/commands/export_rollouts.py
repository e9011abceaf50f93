"""`vgrout export-rollouts RUN...`: the rollouts of runs as one Parquet table, for pandas, datasets, Polars or DuckDB.

Invariant: one row per line of rollouts.jsonl, in order; with --audits what the audit says stands beside it, in its own columns.
The file appears whole or not at all.
"""

import argparse
import importlib.util
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from vgrout.errors import UserError
from vgrout.files import read_jsonl
from vgrout.group_prompts import GroupPrompts
from vgrout.progress import Progress
from vgrout.rows import Row
from vgrout.run_directory import RunDir

ROWS_AT_ONCE = 1000
# Column -> Arrow type. docs/reference/rollouts-table.md says what each means.
RUN = {"run": "string", "arm": "string", "run_seed": "int64"}
ROLLOUT = {
    "update": "int64", "id": "string", "group": "int64", "index": "int64", "problem_id": "int64", "mode": "string",
    "prompt": "string", "text": "string", "prompt_ids": "list<int64>", "completion_ids": "list<int64>",
    "logprobs": "list<double>", "finish": "string", "sampling": "string", "seed": "int64", "version": "int64",
    "digest": "string", "author": "string", "reward": "double", "score": "double", "label": "string", "advantage": "double",
    "skipped": "bool", "layer_scores": "list<double>",
}  # fmt: skip
AUDIT = {
    "compiles": "bool", "correct": "bool", "channel": "bool", "exploited": "bool", "mechanism": "string", "status": "string",
    "jail": "string", "ms": "double", "notes": "string",
}  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run directories")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.parquet", help="the table to write")
    parser.add_argument("--audits", action="store_true", help="add what is really true of every rollout (columns audit_...)")


def run(args: argparse.Namespace) -> int:
    """Write the table. Raises UserError where pyarrow is not installed, a folder is no run, or there is nowhere to write."""
    if importlib.util.find_spec("pyarrow") is None:
        raise UserError("vgrout export-rollouts", "no pyarrow in this Python", "pip install pyarrow")
    import pyarrow as pa  # pyright: ignore[reportMissingImports]
    import pyarrow.parquet as pq  # pyright: ignore[reportMissingImports]

    if not args.out.parent.is_dir():
        raise UserError(f"--out {args.out}", "a folder that does not exist", "an existing folder")
    runs = [RunDir.open(path) for path in args.runs]
    schema = pa.schema([(name, _type(pa, kind)) for name, kind in columns(args.audits).items()])
    part = args.out.with_name(args.out.name + ".part")
    progress, count = Progress("runs", len(runs)), 0
    try:
        with pq.ParquetWriter(part, schema, compression="zstd") as writer:
            for one in runs:
                rows = table_rows(one, args.audits)
                while chunk := list(islice(rows, ROWS_AT_ONCE)):
                    writer.write_table(pa.Table.from_pylist(chunk, schema=schema))
                    count += len(chunk)
                progress.step(one.path.name)
        part.replace(args.out)
    finally:
        part.unlink(missing_ok=True)
    print(f"{count} rollouts of {len(runs)} runs -> {args.out}")
    return 0


def columns(audits: bool) -> dict[str, str]:
    """Column -> type, in order."""
    return {**RUN, **ROLLOUT, **({f"audit_{name}": kind for name, kind in AUDIT.items()} if audits else {})}


def table_rows(run: RunDir, audits: bool) -> Iterator[Row]:
    """The rows of one run."""
    config = run.about()["config"]
    about = {"run": run.path.resolve().name, "arm": config.get("arm"), "run_seed": config.get("seed")}
    log = read_jsonl(run.path / "audits.jsonl", ours=True) if audits else ()
    known = {(a["update"], a["rollout_id"]): _audit(a) for _, a in log}
    prompts = GroupPrompts()
    for _, row in read_jsonl(run.path / "rollouts.jsonl", ours=True):
        row = prompts.fill(row)
        yield {**about, **{name: row.get(name) for name in ROLLOUT}, **known.get((row["update"], row["id"]), {})}


def _audit(audit: Row) -> Row:
    return {f"audit_{name}": audit.get(name) for name in AUDIT} | {"audit_notes": json.dumps(audit.get("notes", {}))}


def _type(pa: Any, kind: str) -> Any:
    named = {"string": pa.string(), "int64": pa.int64(), "double": pa.float64(), "bool": pa.bool_()}
    return pa.list_(named[kind[5:-1]]) if kind.startswith("list<") else named[kind]
