"""`vgrout train CONFIG`: train one arm into a run directory, or go on with an interrupted one."""

import argparse
import sys
from pathlib import Path

from actors.planning.dry_run import make_plan, render
from actors.ray_cluster.environment import prepare
from vgrout.config import load
from vgrout.errors import UserError
from vgrout.run_directory import RunDir


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("config", type=Path, nargs="?", help="a preset: the name of a packaged one, e.g. tiny, or a file")
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="a.b=c", help="change one field (repeatable)")
    parser.add_argument("--arm", help="an arm, by name (`vgrout arms` lists them) or file (default: routev)")
    parser.add_argument("--seed", type=int, help="the run's seed (default: the preset's, or 41)")
    parser.add_argument("--out", type=Path, help="the run directory (default: out/runs/<time>_<preset>_<arm>_seed<N>)")
    parser.add_argument("--dry-run", action="store_true", help="print the plan (actors, placement, memory) and start nothing")
    parser.add_argument("--gpus", type=int, help="with --dry-run: GPUs to place the actors on (default: as configured)")
    parser.add_argument("--gpu-memory-gib", type=float, default=0.0, help="with --dry-run: memory of one GPU, to check against")
    parser.add_argument("--resume", type=Path, metavar="RUN", help="go on with RUN from its last whole checkpoint")
    parser.add_argument("--eval-curve", action="store_true", help="score the checkpoints on the test split when trained")


def run(args: argparse.Namespace) -> int:
    """Train. Exit code 130 or 143 after SIGINT or SIGTERM, 1 where too many parts died; both can be resumed."""
    if (args.config is None) == (args.resume is None):
        raise UserError("vgrout train", "neither or both of CONFIG and --resume", "one of them")
    if not args.dry_run and (args.gpus is not None or args.gpu_memory_gib):
        raise UserError("vgrout train", "--gpus or --gpu-memory-gib without --dry-run", "a run takes its GPUs from the config")
    if args.resume is not None:
        changed = [name for name in ("arm", "seed", "out") if getattr(args, name) is not None]
        if changed or args.sets:
            found = ", ".join("--" + name for name in [*changed, *(["set"] if args.sets else [])])
            raise UserError("--resume", found, "no changes: a resumed run keeps its own configuration")
        config = RunDir.open(args.resume).config()
    else:
        config = load(args.config, arm=args.arm, seed=args.seed, sets=args.sets)
    if args.dry_run:
        print(render(make_plan(config, args.gpus, args.gpu_memory_gib)))
        return 0
    prepare(config)
    from actors.training import train
    from vgrout.signals import AtOnce, Interrupted, RunStopped

    try:
        done = train(config, args.out, args.resume, curve=args.eval_curve)
    except Interrupted as stop:
        print(f"vgrout: stopped by {stop}; go on with: {stop.resume_command}", file=sys.stderr)
        return 128 + stop.signum
    except RunStopped as stop:
        print(f"vgrout: the run stopped: {stop}; go on with: {stop.resume_command}", file=sys.stderr)
        return 1
    except AtOnce as stop:
        print(f"vgrout: stopped at once ({stop}); go on with: {stop.resume_command}", file=sys.stderr)
        return 128 + stop.signum
    print(done.path)
    return 0
