"""`vgrout suite FILE`: train and evaluate all arms over all seeds of a suite file; run it again to go on where it stopped."""

import argparse
import fcntl
import sys
from pathlib import Path

from vgrout.errors import UserError
from vgrout.progress import duration
from vgrout_cli.suite.comparable import check_own, check_seed
from vgrout_cli.suite.plan import Job, jobs, load
from vgrout_cli.suite.runner import Runner
from vgrout_cli.suite.state import RunStatus, SuiteState, is_done


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("suite", type=Path, metavar="FILE", help="a suite: the name of a packaged one, e.g. tiny, or a file")
    parser.add_argument("--out", type=Path, help="folder of the runs (default: out/suites/<name of the file>)")
    parser.add_argument(
        "--parallel", type=int, help="runs at a time (default: the suite file's; 0: what the cluster has room for)"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the runs in their order and what is done; start nothing")


def run(args: argparse.Namespace) -> int:
    """Exit code 0 where all is done, 1 where a run failed, 130 or 143 after SIGINT or SIGTERM."""
    suite = load(args.suite)
    out = args.out or Path("out/suites") / suite.name
    parallel = suite.parallel if args.parallel is None else args.parallel
    if parallel < 0:
        raise UserError("--parallel", str(parallel), "at least 1 run at a time, or 0")
    todo = jobs(suite, out)
    if parallel == 0:
        from actors.ray_cluster.capacity import room

        parallel = max(1, min(len(todo), room(todo[0].config)))
    check(todo)
    state = SuiteState(suite, todo, out)
    if args.dry_run:
        print(plan(todo, state, parallel))
        return 0
    failed = carry_out(todo, state, parallel)
    if not failed:
        print(out)
    return failed


def carry_out(todo: list[Job], state: SuiteState, parallel: int) -> int:
    """Run what is not done; say what failed or that it was stopped. Returns the exit code.

    Raises UserError where another suite is running in the folder.
    """
    out = state.out
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"--out {out}", "a suite that is running there", "one suite at a time per folder") from None
        state.write()
        stopped = Runner(todo, state, parallel).run()
    failed = [f"{name}: {r['error']}" for name, r in state.runs.items() if r["status"] != RunStatus.DONE and r["error"]]
    if stopped:
        print(f"vgrout: stopped; go on with the same command ({state.left()} runs left)", file=sys.stderr)
        return 128 + stopped
    for line in failed:
        print(f"vgrout: not done: {line}", file=sys.stderr)
    return 1 if failed else 0


def plan(todo: list[Job], state: SuiteState, parallel: int) -> str:
    """The runs in order, each with its status, and how long the rest may take."""
    lines = [f"{'run':<48} {'status':<8} {'updates':>7}  needs"]
    for job in todo:
        lines.append(f"{job.name:<48} {state.runs[job.name]['status']:<8} {job.config.train.updates:>7}  {job.needs or ''}")
    typical = state.typical_seconds()
    eta = duration(typical * state.left() / parallel) if typical else "unknown before the first run is done"
    lines.append(f"{state.left()} of {len(todo)} runs left, {parallel} at a time; estimated time: {eta}")
    return "\n".join(lines)


def check(todo: list[Job]) -> None:
    """What is there already must be of this suite, and comparable."""
    for job in todo:
        if (job.path / "run.json").is_file() or is_done(job.path):
            check_own(job)
    for seed in dict.fromkeys(job.config.seed for job in todo):
        check_seed([job for job in todo if job.config.seed == seed])
