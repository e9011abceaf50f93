"""`vgrout demo`: train vanilla and routev on the tiny world side by side, print a table and draw one PNG of the curves.

It is a suite of two arms and one seed: each run is a `vgrout train` of its own, and the same command goes on where it stopped.
"""

import argparse
import json
import os
import shlex
import sys
from pathlib import Path

from vgrout.config import Config, load
from vgrout.files import write_whole
from vgrout.named_files import find
from vgrout.presets import packaged
from vgrout.progress import at
from vgrout.rows import Row
from vgrout_cli.commands.eval import table
from vgrout_cli.commands.suite import carry_out, check
from vgrout_cli.suite.plan import Suite, jobs
from vgrout_cli.suite.state import SuiteState

ARMS = ("vanilla", "routev")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--config", type=Path, default=packaged() / "tiny.toml", help="the preset of both runs")
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="folder of the two runs, the table and the figure")
    parser.add_argument("--seed", type=int, help="the seed of both runs (default: the preset's)")
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="a.b=c", help="change one field (repeatable)")


def run(args: argparse.Namespace) -> int:
    """Train and evaluate both, print, draw. What an earlier, interrupted demo finished is kept."""
    # Two runs take turns on two cores better than one run's parts do; on a cluster there may be room for one alone.
    parallel = 2 if (os.cpu_count() or 1) > 1 and "RAY_ADDRESS" not in os.environ else 1
    seed = load(args.config, seed=args.seed, sets=args.sets).seed
    suite = Suite("demo", find("", args.config, "--config"), ARMS, (seed,), parallel, tuple(args.sets), {})
    todo = jobs(suite, args.out)
    check(todo)
    print(f"two runs, {' and '.join(ARMS)}, then a table and a figure in {args.out}", file=sys.stderr, flush=True)
    failed = carry_out(todo, SuiteState(suite, todo, args.out), parallel)
    if failed:
        return failed
    at("drawing")
    curves = {job.config.arm: [json.loads(line) for line in (job.path / "eval_curve.jsonl").open()] for job in todo}
    text = report(curves, todo[0].config)
    write_whole(args.out / "table.txt", text + "\n")
    from vgrout_cli.report.style import draw_curves

    draw_curves(curves, args.out / "curves.png")
    at("")
    print(text)
    print(f"\nfigure: {args.out / 'curves.png'}   runs: {', '.join(str(args.out / job.name) for job in todo)}")
    last = shlex.quote(str(args.out / todo[-1].name))
    print(f"next: `vgrout view {shlex.quote(str(args.out))}` shows the rollouts, `vgrout export {last} --out DIR` the adapter")
    return 0


def report(curves: dict[str, list[Row]], config: Config) -> str:
    """The closing table: base first, then every arm as trained and deployed, per mode."""
    head = f"test split, T = {config.eval.temperature}, {config.eval.samples} samples per problem, seed {config.seed}; rate ± SEM"
    lines = [head, "", "base (before training)", table(curves[ARMS[0]][0])]
    for arm, records in curves.items():
        lines += ["", arm, table(records[-1])]
    return "\n".join(lines)
