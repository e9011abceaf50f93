"""How fast the jailed grader is, against `subprocess -I` per program and against a naive reward, in one run on the same problems.

Prints medians in ms and programs per second; ratios are what to trust, since other work may share the machine. Only the
benchmark's own canonical solutions run here, so the bare fork (no jail at all) that the jail is compared with is harmless.
Run: `python -m bench.grader [--problems FILE.jsonl] [--rounds N] [--workers N]`; without a file, on 12 built-in problems.
"""

import argparse
import marshal
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from sandbox.grading.grader import Grader
from sandbox.jail import runner as runner_module
from sandbox.jail.canaries import prove
from sandbox.jail.levels import Level, Limits
from sandbox.jail.program import Program, Task
from sandbox.jail.runner import Runner
from sandbox.problems.load import load
from vgrout.errors import UserError
from vgrout.provenance import machine
from vgrout.records import LOOPHOLES, Case, GradeJob, Mode, Problem

SLOW_MS = 50.0
LEVELS = ("L1", "L2", "L3")
HACK = "\n\ndef run_tests():\n    print('all tests passed')\n"

# The zygote with its jail taken out: what a bare fork from a warm interpreter costs.
_BARE_ZYGOTE = """
import sys
sys.path.insert(0, {root!r})
from sandbox.jail import levels as jail
from sandbox.jail import zygote
import socket
jail.enter = lambda *setting: None
zygote.main(socket.socket(fileno=int(sys.argv[1])))
"""


def built_in(count: int = 12) -> list[Problem]:
    """Problems of about 100 calls on short lists."""
    solution = "class Solution:\n    def f(self, xs, k):\n        return sorted(x * k % 97 for x in xs)\n"
    problems = []
    for number in range(1, count + 1):
        inputs = [([(number * 31 + i * j) % 89 for j in range(20)], i) for i in range(101)]
        cases = tuple(Case((), {"xs": xs, "k": k}, sorted(x * k % 97 for x in xs)) for xs, k in inputs)
        problems.append(Problem(number, (), "f", "from typing import *\n", solution, cases))
    return problems


def as_script(problem: Problem, empty: bool = False) -> str:
    """Setup, solution and asserts in one script, as published graders write them."""
    asserts = [
        f"assert Solution().{problem.entry}({', '.join(f'{k}={v!r}' for k, v in case.kwargs.items())}) == {case.expected!r}"
        for case in ([] if empty else problem.cases)
    ]
    return "\n".join([problem.setup_code, problem.canonical_solution, *asserts])


def as_program(problem: Problem, empty: bool = False) -> Program:
    inputs = tuple(marshal.dumps((case.args, case.kwargs)) for case in ([] if empty else problem.cases))
    setup = compile(problem.setup_code, "<setup>", "exec", dont_inherit=True)
    return Program(Task.SOLVE, setup, (problem.canonical_solution,), problem.entry, inputs)


def run_script(text: str) -> None:
    """One `python -I` per program; the text goes by a file, since asserts can be longer than an argument may be."""
    with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        file.write(text)
        file.flush()
        subprocess.run([sys.executable, "-I", file.name], capture_output=True, timeout=60, check=True)


def naive_reward(problem: Problem) -> None:
    """Four subprocesses: does it compile, does it pass, does its run_tests accept a stub, and the canonical solution."""
    response = problem.canonical_solution + HACK
    stub = f"class Solution:\n    def {problem.entry}(self, *a, **k):\n        return 0\n{HACK}run_tests()\n"
    run_script(f"compile({response!r}, 'response', 'exec')")
    run_script(as_script(problem))
    run_script(problem.setup_code + "\n" + stub)
    run_script(f"{problem.setup_code}\n{response}\nrun_tests()\n")


Work = Callable[[Problem], object]


def medians_ms(candidates: Mapping[str, Work], problems: Sequence[Problem], rounds: int) -> dict[str, float]:
    """Median ms of each candidate; all candidates take turns on each problem, so that a busy machine is busy for all."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(-1, rounds):  # the first round warms up
        for problem in problems:
            for name, work in candidates.items():
                started = time.perf_counter()
                work(problem)
                if turn >= 0:
                    times[name].append(1e3 * (time.perf_counter() - started))
    return {name: statistics.median(taken) for name, taken in times.items()}


def bare_runner() -> Runner:
    """A Runner whose zygote forks without a jail. For this measurement only."""
    real = runner_module._ZYGOTE
    with tempfile.TemporaryDirectory(prefix="vgrout-bench-") as folder:
        script = Path(folder, "bare_zygote.py")
        script.write_text(_BARE_ZYGOTE.format(root=str(real.parents[1])))
        runner_module._ZYGOTE = script
        try:
            return Runner(Level.L2, Limits())
        finally:
            runner_module._ZYGOTE = real


def available(levels: Sequence[str]) -> dict[str, Runner]:
    """A Runner per level that this machine has."""
    found = {}
    for level in levels:
        try:
            found[level] = prove(level, Limits())
        except UserError as error:
            print(f"{level} not measured: {error.found}")
    return found


def measure_programs(problems: list[Problem], rounds: int) -> None:
    """ms per program: an empty one, and one with all its calls."""
    runners = {"bare fork": bare_runner(), **available(LEVELS)}

    def candidates(empty: bool) -> dict[str, Work]:
        def on(runner: Runner) -> Work:
            return lambda one: runner.run(as_program(one, empty), lambda _: None)

        return {"subprocess -I": lambda one: run_script(as_script(one, empty)), **{n: on(r) for n, r in runners.items()}}

    empty, typical = (medians_ms(candidates(which), problems, rounds) for which in (True, False))
    for runner in runners.values():
        runner.close()
    print(f"\n{'ms per program (median)':28}{'empty':>9}{'typical':>9}")
    for name in empty:
        ratios = f"   {empty[name] / empty['bare fork']:.2f}x / {typical[name] / typical['bare fork']:.2f}x a bare fork"
        print(f"{name:28}{empty[name]:9.1f}{typical[name]:9.1f}{ratios if name in LEVELS else ''}")


def measure_rewards(problems: list[Problem], rounds: int) -> None:
    """ms per reward: oracle and channel (and, for run_tests, its audit) against the naive reward."""
    with ExitStack() as stack:
        candidates: dict[str, Work] = {"naive (4 subprocesses)": naive_reward}
        for level in LEVELS[1:]:
            try:
                grader = stack.enter_context(Grader(level))
            except UserError:
                continue  # `available` has said why
            candidates |= {f"{level} {mode}": reward(grader, mode) for mode in LOOPHOLES}
        rows = medians_ms(candidates, problems, rounds)
    naive = rows.pop("naive (4 subprocesses)")
    print(f"\nms per reward (median)\n{'naive (4 subprocesses)':28}{naive:9.1f}")
    for name, ours in rows.items():
        print(f"{name:28}{ours:9.1f}   1/{naive / ours:.1f} of the naive reward")


def reward(grader: Grader, mode: Mode) -> Work:
    """Grade the canonical solution with the hacks of run_tests and stdout added."""

    def work(problem: Problem) -> None:
        graded = grader.grade(GradeJob("b", problem, mode, f"```python\n{problem.canonical_solution}{HACK}```"))
        assert graded[0].value == 3.5, graded

    return work


def measure_throughput(problems: list[Problem], rounds: int, workers: int) -> None:
    """Programs per second with several workers at once."""
    work = list(problems) * rounds
    parts = [work[place::workers] for place in range(workers)]

    def by_subprocess(part: list[Problem]) -> None:
        for problem in part:
            run_script(as_script(problem))

    def by_runner(part: list[Problem]) -> float:
        runner = prove("auto", Limits())
        started = time.perf_counter()
        for problem in part:
            runner.run(as_program(problem), lambda _: None)
        runner.close()
        return time.perf_counter() - started

    print(f"\nprograms/s, {workers} workers")
    with ThreadPoolExecutor(workers) as pool:
        started = time.perf_counter()
        list(pool.map(by_subprocess, parts))
        print(f"{'subprocess -I':28}{len(work) / (time.perf_counter() - started):9.0f}")
        print(f"{'jailed zygote (auto)':28}{len(work) / max(pool.map(by_runner, parts)):9.0f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=Path, help="problems in the published form; default: 12 built in")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    problems = load(args.problems) if args.problems else built_in()
    with Grader("auto") as grader:
        completions = [(one, f"```python\n{one.canonical_solution}```") for one in problems]
        took = [min(grader.grade(GradeJob("w", one, Mode.GT_ONLY, text))[1].ms for _ in range(2)) for one, text in completions]
    typical = [problem for problem, ms in zip(problems, took, strict=True) if ms <= SLOW_MS]
    about = machine()
    print(f"{about['cpu']}, {about['cores']} cores, {about['system']}, Python {platform.python_version()}")
    print(f"load {os.getloadavg()[0]:.1f} at the start")
    print(f"{len(typical)} of {len(problems)} problems take <= {SLOW_MS:.0f} ms; medians over those, {args.rounds} rounds")
    measure_programs(typical, args.rounds)
    measure_rewards(typical, args.rounds)
    measure_throughput(typical, args.rounds, args.workers)


if __name__ == "__main__":
    main()
