"""`vgrout grade`: grade a file of completions and write one verdict line each, in order.

Invariant: the input is read and checked whole before anything runs, and the output file appears whole or not at all.
"""

import argparse
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from vgrout.errors import UserError
from vgrout.files import read_jsonl, to_json, write_whole
from vgrout.progress import Progress
from vgrout.records import Audit, GradeJob, Mode, Problem, Reward
from vgrout.rows import Row

if TYPE_CHECKING:
    from sandbox.grading.grader import Grader
    from sandbox.loopholes.loophole import Loophole

# "line" is the completion's number from 1, "ms" the wall-clock time of all its programs, "jail" the proven level.
VERDICT_FIELDS = (
    *("id", "line", "mode", "reward", "correct", "channel", "exploited", "status", "jail", "ms"),
    *("compiles", "mechanism", "notes"),
)

Verdict = tuple[Reward, Audit]
Done = queue.SimpleQueue[tuple[int, Verdict] | BaseException]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vgrout grade`."""
    parser.add_argument("--problems", type=Path, required=True, metavar="P.jsonl", help="problems in the published form")
    parser.add_argument("--completions", type=Path, required=True, metavar="C.jsonl", help='lines {"id", "completion", "mode"}')
    parser.add_argument("--out", type=Path, required=True, metavar="V.jsonl", help="verdicts, one line per completion, in order")
    parser.add_argument(
        "--mode", default=Mode.GT_ONLY.value, help=f"for lines without a mode: {', '.join(Mode)} (default gt_only)"
    )
    parser.add_argument(
        "--loophole", type=Path, action="append", default=[], metavar="FILE.py", help="a loophole of your own (repeatable)"
    )
    parser.add_argument("--jail", default="auto", help="auto (default), L3, L2, or L1 by explicit choice")
    parser.add_argument("--workers", type=int, default=2, help="programs run at a time (default 2)")
    parser.add_argument("--deadline", type=float, default=10.0, metavar="S", help="seconds per program (default 10)")
    parser.add_argument("--parity", default="disclosed", help="whose rules loopholes pay by: disclosed (default), published")
    parser.add_argument(
        "--packages", metavar="NAME,...", help="installed modules that programs may import (default sortedcontainers)"
    )


def run(args: argparse.Namespace) -> int:
    """Grade and write. Raises UserError for bad input; returns 1 if a completion could not be graded (infra_error)."""
    from sandbox.jail.linux import require_linux
    from sandbox.loopholes.plug_in import read
    from sandbox.problems.load import load

    require_linux()
    if args.workers < 1 or not args.deadline > 0:
        raise UserError("--workers, --deadline", f"{args.workers}, {args.deadline}", "numbers above 0")
    if not args.out.parent.is_dir():
        raise UserError(f"--out {args.out}", "a folder that does not exist", "an existing folder")
    problems = {problem.id: problem for problem in load(args.problems)}
    plug_ins = read(args.loophole)
    modes = [*Mode, *plug_ins]
    jobs = _read_jobs(args.completions, problems, modes, _mode("--mode", args.mode, modes))
    verdicts = _grade_all(jobs, _new_grader(args, list(plug_ins.values())), min(args.workers, len(jobs)))
    write_whole(args.out, "".join(to_json(_line(*verdict)) + "\n" for verdict in verdicts))
    failed = sum(reward.value is None for reward, _ in verdicts)
    exploited = sum(audit.exploited for _, audit in verdicts)
    correct = sum(audit.correct for _, audit in verdicts)
    level = verdicts[0][1].jail
    print(f"{len(verdicts)} graded at {level}: {correct} correct, {exploited} exploited, {failed} infra errors -> {args.out}")
    return 1 if failed else 0


def _new_grader(args: argparse.Namespace, loopholes: Sequence["Loophole"]) -> Callable[[], "Grader"]:
    """What starts one Grader with the arguments' setting. Raises UserError."""
    from sandbox.grading.grader import Grader
    from sandbox.jail.runtime import PACKAGES
    from sandbox.loopholes.loophole import Parity

    _check("--parity", args.parity, args.parity in set(Parity), f"one of {', '.join(Parity)}")
    packages = PACKAGES if args.packages is None else tuple(name for name in args.packages.split(",") if name)
    return lambda: Grader(args.jail, args.deadline, Parity(args.parity), packages, loopholes)


def _read_jobs(path: Path, problems: dict[int, Problem], modes: Sequence[str], default: str) -> list[GradeJob]:
    jobs: list[GradeJob] = []
    for number, row in read_jsonl(path, missing="a file of completions in JSON Lines form"):
        where = f"{path}:{number}"
        _check(f"{where}, field id", row.get("id"), type(row.get("id")) is int, "an integer problem id")
        _check(f"{where}, field id", row["id"], row["id"] in problems, "the id of a problem in --problems")
        _check(f"{where}, field completion", row.get("completion"), isinstance(row.get("completion"), str), "text")
        mode = _mode(f"{where}, field mode", row["mode"], modes) if row.get("mode") is not None else default
        jobs.append(GradeJob(f"{number}", problems[row["id"]], mode, row["completion"]))
    if not jobs:
        raise UserError(str(path), "an empty file", "at least one completion")
    return jobs


def _check(where: str, value: object, good: bool, expected: str) -> None:
    if not good:
        raise UserError(where, "nothing" if value is None else repr(value)[:60], expected)


def _mode(where: str, text: object, modes: Sequence[str]) -> str:
    _check(where, text, isinstance(text, str) and text in modes, f"one of {', '.join(modes)}")
    return str(text)


def _grade_all(jobs: Sequence[GradeJob], new_grader: Callable[[], "Grader"], workers: int) -> list[Verdict]:
    """Grade with one Grader per thread; a thread only waits for its zygote."""
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    done: Done = queue.SimpleQueue()
    for place in range(len(jobs)):
        todo.put(place)
    stop = threading.Event()
    with ExitStack() as stack:
        graders = [stack.enter_context(new_grader()) for _ in range(workers)]
        threads = [threading.Thread(target=_work, args=(grader, jobs, todo, done, stop)) for grader in graders]
        try:
            for thread in threads:
                thread.start()
            return _collect(len(jobs), done)
        finally:
            stop.set()
            for thread in threads:
                thread.join()


def _work(grader: "Grader", jobs: Sequence[GradeJob], todo: queue.SimpleQueue, done: Done, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            place = todo.get_nowait()
        except queue.Empty:
            return
        try:
            done.put((place, grader.grade(jobs[place])))
        except BaseException as error:  # handed to the main thread, which raises it
            done.put(error)
            return


def _collect(count: int, done: Done) -> list[Verdict]:
    """Wait for all verdicts, with progress about once a second."""
    verdicts: dict[int, Verdict] = {}
    progress = Progress("graded", count)
    shown = time.monotonic()
    while len(verdicts) < count:
        item = done.get()
        if isinstance(item, BaseException):
            raise item
        verdicts[item[0]] = item[1]
        if time.monotonic() - shown >= 1.0 or len(verdicts) == count:
            shown = time.monotonic()
            progress.step(count=len(verdicts) - progress.done)
    return [verdicts[place] for place in range(count)]


def _line(reward: Reward, audit: Audit) -> Row:
    row = asdict(audit) | {"id": audit.problem_id, "line": int(audit.rollout_id), "reward": reward.value}
    return {name: row[name] for name in VERDICT_FIELDS}
