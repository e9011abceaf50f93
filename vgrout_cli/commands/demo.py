"""`vgrout demo`: train vanilla and routev on the tiny world, evaluate both, print a table and draw one PNG of the curves."""

import argparse
import json
import shlex
import sys
from pathlib import Path

from actors.ray_cluster.environment import prepare
from vgrout.config import Config, load
from vgrout.files import write_whole
from vgrout.presets import packaged
from vgrout.progress import at, phase
from vgrout.rows import Row
from vgrout.run_directory import RunDir
from vgrout.signals import AtOnce, Interrupted, RunStopped
from vgrout_cli.commands.eval import table

ARMS = ("vanilla", "routev")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--config", type=Path, default=packaged() / "tiny.toml", help="the preset of both runs")
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="folder of the two runs, the table and the figure")
    parser.add_argument("--seed", type=int, help="the seed of both runs")
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="a.b=c", help="change one field (repeatable)")


def run(args: argparse.Namespace) -> int:
    """Train, evaluate, print, draw. Finished steps of an earlier, interrupted demo are kept."""
    configs = {arm: load(args.config, arm=arm, seed=args.seed, sets=args.sets) for arm in ARMS}
    phase(f"two runs, {' and '.join(ARMS)}, then a table and a figure in {args.out}")
    try:
        curves = {arm: _arm(config, args.out / arm) for arm, config in configs.items()}
    except (Interrupted, RunStopped, AtOnce) as stop:
        stop.resume_command = shlex.join(["vgrout", *sys.argv[1:]])
        raise
    at("drawing")
    text = report(curves, configs)
    write_whole(args.out / "table.txt", text + "\n")
    from vgrout_cli.report.style import draw_curves

    draw_curves(curves, args.out / "curves.png")
    at("")
    print(text)
    print(f"\nfigure: {args.out / 'curves.png'}   runs: {', '.join(str(args.out / arm) for arm in ARMS)}")
    first = shlex.quote(str(args.out / ARMS[-1]))
    print(f"next: `vgrout view {shlex.quote(str(args.out))}` shows the rollouts, `vgrout export {first} --out DIR` the adapter")
    return 0


def _arm(config: Config, path: Path) -> list[Row]:
    """Train (or go on with) one arm and return its evaluation records, one per checkpoint."""
    phase(f"{config.arm} ({ARMS.index(config.arm) + 1} of {len(ARMS)}), into {path}")
    prepare(config)
    from actors.evaluation import evaluate_all
    from actors.training import train

    run_dir = RunDir(path)
    if not (path / "train.safetensors").exists():
        resume = path if (path / "run.json").exists() and run_dir.checkpoints() else None
        run_dir = train(config, path, resume, curve=True)
    curve = path / "eval_curve.jsonl"
    if not curve.exists():
        evaluate_all(run_dir, config)
    return [json.loads(line) for line in curve.read_text().splitlines()]


def report(curves: dict[str, list[Row]], configs: dict[str, Config]) -> str:
    """The closing table: base first, then every arm as trained and deployed, per mode."""
    first = configs[ARMS[0]]
    lines = [f"test split, T = {first.eval.temperature}, {first.eval.samples} samples per problem, seed {first.seed}; rate ± SEM"]
    lines += ["", "base (before training)", table(curves[ARMS[0]][0])]
    for arm, records in curves.items():
        lines += ["", arm, table(records[-1])]
    return "\n".join(lines)
