"""`vgrout train CONFIG`: train one arm into a run directory, or go on with an interrupted one."""

import argparse
import json
import shlex
from pathlib import Path

from actors.planning.dry_run import make_plan, render
from actors.ray_cluster.environment import prepare
from actors.sinks import SINKS, chosen
from vgrout import resumed_config
from vgrout.config import Config, load
from vgrout.errors import UserError
from vgrout.progress import phase, say
from vgrout.run_directory import RunDir
from vgrout.trace import write_trace

MOST_GPUS = 100_000


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
    parser.add_argument(
        "--resume-or-start", action="store_true", help="go on with --out where it holds a checkpoint, else start it"
    )
    parser.add_argument(
        "--accept-changes", action="store_true", help="with --resume: go on though data or base changed; noted in run.json"
    )
    parser.add_argument(
        "--log", action="append", choices=[*SINKS, "none"],
        help="also write the metrics there (repeatable; default: tensorboard where that package is installed)",
    )  # fmt: skip
    parser.add_argument(
        "--trace", action="store_true", help="write RUN/trace.json: who worked when, for Perfetto (ui.perfetto.dev)"
    )
    parser.add_argument("--eval-curve", action="store_true", help="score the checkpoints on the test split when trained")


def run(args: argparse.Namespace) -> int:
    """Train. Exit code 130 or 143 after SIGINT or SIGTERM, 1 where too many parts died; both can be resumed."""
    if (args.config is None) == (args.resume is None):
        raise UserError("vgrout train", "neither or both of CONFIG and --resume", "one of them")
    if not args.dry_run and (args.gpus is not None or args.gpu_memory_gib):
        raise UserError("vgrout train", "--gpus or --gpu-memory-gib without --dry-run", "a run takes its GPUs from the config")
    if args.gpus is not None and not 0 <= args.gpus <= MOST_GPUS:
        raise UserError("--gpus", str(args.gpus), f"0 to {MOST_GPUS}")
    if not 0 <= args.gpu_memory_gib < float("inf"):
        raise UserError("--gpu-memory-gib", f"{args.gpu_memory_gib:g}", "the memory of one GPU")
    if args.accept_changes and args.resume is None and not args.resume_or_start:
        raise UserError("--accept-changes", "a new run", "--resume RUN, or --resume-or-start")
    if args.resume is not None:
        given = [f"--{name}" for name in ("arm", "seed", "out") if getattr(args, name) is not None]
        if given or args.resume_or_start:
            found = ", ".join([*given, *(["--resume-or-start"] if args.resume_or_start else [])])
            raise UserError("--resume", found, "none of these: a resumed run keeps its own configuration and folder")
        config = resumed_config.changed(RunDir.open(args.resume).config(), args.sets, "--resume")
    else:
        assert args.config is not None
        config = load(args.config, arm=args.arm, seed=args.seed, sets=args.sets)
        if args.resume_or_start:
            args.resume = begun(args.out, config)
    if args.out is not None and args.out == Path():
        raise UserError("--out", "the working directory", "a folder of its own for the run")
    if args.resume is not None and not args.dry_run and RunDir(args.resume).is_finished(config.train.updates, args.eval_curve):
        print(args.resume)  # at once: nothing is left to do
        return 0
    if args.dry_run:
        plan = make_plan(config, args.gpus, args.gpu_memory_gib)
        from actors.rollouts.dataset import check_what_is_here

        unchecked = check_what_is_here(config)
        print("\n".join([render(plan), *(f"  note: {why}" for why in unchecked)]))
        return 0
    log = chosen(args.log)
    prepare(config)
    phase("reading problems and pairs")
    from actors.training import train

    done = train(config, args.out, args.resume, curve=args.eval_curve, accept_changes=args.accept_changes, log=log)
    if args.trace:
        write_trace(done.path)
    here = shlex.quote(str(done.path))
    evaluate = "" if args.eval_curve else f"`vgrout eval {here}` scores the deployed model, "
    say(f"next: {evaluate}`vgrout view {here}` shows the rollouts, `vgrout export {here} --out DIR` writes the adapter")
    print(done.path)
    return 0


def begun(out: Path | None, asked: Config) -> Path | None:
    """The run to go on with where `out` holds one with a checkpoint, else None.

    Raises UserError without --out, and where that run was begun with other settings that a resumed run may not change.
    """
    if out is None:
        raise UserError("--resume-or-start", "no --out", "CONFIG and --out RUN")
    if not (out / "run.json").is_file() or not RunDir.open(out).checkpoints():
        return None
    here, wanted = (resumed_config.flat(config.to_dict()) for config in (RunDir.open(out).config(), asked))
    for name, value in wanted.items():
        section, _, field = name.partition(".")
        if field not in resumed_config.FREE.get(section, ()) and json.dumps(here.get(name)) != json.dumps(value):
            found = f"{json.dumps(here.get(name)):.80}, where {json.dumps(value):.80} is asked for"
            raise UserError(f"{out / 'run.json'}: {name}", found, "the same, or another --out")
    return out
