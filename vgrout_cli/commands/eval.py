"""`vgrout eval RUN`: score the last (or a given) checkpoint on a split, as trained and deployed, per mode."""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from actors.ray_cluster.environment import prepare
from vgrout.config import Config, from_dict
from vgrout.errors import UserError
from vgrout.files import to_json, write_json
from vgrout.rates import with_sem
from vgrout.rows import Row
from vgrout.run_directory import RunDir


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("run_dir", type=Path, metavar="RUN", help="a run directory")
    parser.add_argument("--checkpoint", type=int, help="updates done at the checkpoint (default: the last)")
    parser.add_argument("--split", choices=("test", "validation", "train"), default="test", help="the problems (default: test)")
    parser.add_argument("--samples", type=int, help="completions per problem (default: the run's eval.samples)")
    parser.add_argument("--accept-changes", action="store_true", help="go on though data or base changed; noted in run.json")
    parser.add_argument("--json", action="store_true", help="print the record as JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    """Evaluate into eval/<split>_<update>.json (and per_mode_deploy.json: last checkpoint, test split), print a table."""
    run_dir = RunDir.open(args.run_dir)
    own = run_dir.config()
    config = with_samples(own, args.samples)
    prepare(config)
    from actors.evaluation import Exam, evaluate

    whole = run_dir.checkpoints()
    if not whole:
        raise UserError(str(run_dir.path / "checkpoints"), "no whole checkpoint", "at least one")
    version = args.checkpoint if args.checkpoint is not None else whole[-1]
    exam = Exam(args.split + samples_suffix(own, config), args.split)
    with only_answers_on_stdout():
        record = evaluate(run_dir, config, [version], exam, args.accept_changes)[0]
    if version == whole[-1] and exam.name == "test":
        write_json(run_dir.path / "per_mode_deploy.json", record)
    print(to_json(record) if args.json else table(record))
    return 0


@contextmanager
def only_answers_on_stdout() -> Iterator[None]:
    """Send to standard error what libraries print, from Python or from C, while an evaluation runs."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def with_samples(config: Config, samples: int | None) -> Config:
    """The configuration with another number of completions per problem, checked again."""
    if samples is None:
        return config
    table = config.to_dict()
    table["eval"]["samples"] = samples
    return from_dict(table, "--samples")


def samples_suffix(own: Config, config: Config) -> str:
    """What keeps the files of another number of completions apart from the run's own evaluation."""
    return "" if config.eval.samples == own.eval.samples else f"_s{config.eval.samples}"


def table(record: Row) -> str:
    """A text table of one evaluation record: hack and solve per mode, as trained and deployed, with n and SEM."""
    lines = [
        f"update {record['update']}, {record['split']} split",
        f"{'mode':<14} {'n':>4}  {'as trained':^26}  {'deployed':^26}",
    ]
    lines.append(f"{'':<19}  {'hack':>12} {'solve':>13}  {'hack':>12} {'solve':>13}")
    for mode in sorted(record["train"], key=lambda m: (m != "all", m)):
        cells = []
        for policy in ("train", "deploy"):
            c = record[policy][mode]
            cells += [with_sem(c, what) for what in ("hack", "solve")]
        lines.append(f"{mode:<14} {record['train'][mode]['n']:>4}  {cells[0]:>12} {cells[1]:>13}  {cells[2]:>12} {cells[3]:>13}")
    return "\n".join(lines)
