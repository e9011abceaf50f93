"""`vgrout eval-curve RUN...`: score the checkpoints of runs on the test split, as trained and deployed.

Invariant: the full test split with the run's own number of samples gives eval_curve.jsonl and per_mode_deploy.json; anything
else (--monitor, --novel-markers, --without-hints, --closed, --samples, --every) goes to an eval_curve_<what>.jsonl of its own.
"""

import argparse
from pathlib import Path

from actors.ray_cluster.environment import prepare
from vgrout.errors import UserError
from vgrout.run_directory import RunDir
from vgrout_cli.api import samples_suffix, with_samples
from vgrout_cli.commands.eval import table
from vgrout_cli.commands.monitor import read, test_digest


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run directories")
    parser.add_argument(
        "--every", type=int, metavar="N", help="checkpoints at multiples of N updates and the last (default: all)"
    )
    parser.add_argument("--monitor", type=Path, metavar="FILE", help="the frozen monitoring subset only (see vgrout monitor)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--novel-markers", action="store_true", help="hints and detectors in words never seen in training")
    form.add_argument("--without-hints", action="store_true", help="loopholes are open, but no prompt speaks of them")
    form.add_argument("--closed", action="store_true", help="prompts speak of loopholes that do not pay: only solves count")
    parser.add_argument("--accept-changes", action="store_true", help="go on though data or base changed; noted in run.json")
    parser.add_argument("--samples", type=int, help="completions per problem (default: the run's eval.samples)")


def run(args: argparse.Namespace) -> int:
    """Evaluate run after run; print the last record's table of each."""
    if args.every is not None and args.every < 1:
        raise UserError("--every", str(args.every), "at least 1")
    runs = [RunDir.open(path) for path in args.runs]
    subsets = [read(args.monitor, test_digest(run_dir)) if args.monitor else None for run_dir in runs]
    for run_dir, ids in zip(runs, subsets, strict=True):
        own = run_dir.config()
        config = with_samples(own, args.samples)
        prepare(config)
        from actors.evaluation import Exam, Form, evaluate, scheduled, write_curve

        versions = scheduled(run_dir, config)
        if not versions:
            raise UserError(str(run_dir.path / "checkpoints"), "no whole checkpoint", "at least one")
        if args.every:
            versions = [v for v in versions if v % args.every == 0 or v == versions[-1]]
        asked = {Form.NOVEL: args.novel_markers, Form.NO_HINT: args.without_hints, Form.CLOSED: args.closed}
        form = next((form for form, chosen in asked.items() if chosen), Form.USUAL)
        name = "test" if ids is None else "monitor"
        name += ("" if form is Form.USUAL else f"_{form}") + samples_suffix(own, config)
        exam = Exam(name, ids=None if ids is None else tuple(ids), form=form)
        records = evaluate(run_dir, config, versions, exam, args.accept_changes)
        write_curve(run_dir, records, ("" if name == "test" else f"_{name}") + (f"_every{args.every}" if args.every else ""))
        print(f"{run_dir.path}\n{table(records[-1])}")
    return 0
