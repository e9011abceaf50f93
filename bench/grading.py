"""Milliseconds to grade the tiny world's completions: jailed grader, published reward, a `python -I` per program, no jail at all.

    python -m bench.grading --out out/bench [--rounds 5] [--short]

Half of the completions solve their problem, half of them hack it. The unjailed reward pays for correct code only and reads no
loophole: it is what a user of TRL writes first. The published reward is four subprocesses: does it compile, does it pass, does
its run_tests accept a stub, does it accept its own class. `times` is its time over ours, round by round. See `bench.grader`
for the jail levels one by one, on larger problems.
"""

from pathlib import Path

from bench.grader import as_script, naive_reward, run_script
from bench.measure import Series, alternate, run_part
from bench.trl_run import in_process_reward
from sandbox.grading.grader import Grader
from sandbox.problems.load import load as load_problems
from vgrout.records import LOOPHOLES, GradeJob, Problem

ROOT = Path(__file__).parents[1]


def completions(problems: list[Problem]) -> list[str]:
    """Canonical solutions, every other one with a function run_tests that says all is well."""
    hack = "\n\ndef run_tests():\n    print('all tests passed')\n"
    return [f"```python\n{p.canonical_solution}{hack if n % 2 else ''}```" for n, p in enumerate(problems)]


def measure(rounds: int, short: bool) -> list[Series]:
    """Milliseconds per completion, one worker."""
    problems = load_problems(ROOT / "configs/tiny/train.jsonl")[: 4 if short else 48]
    texts = completions(problems)
    jobs = [
        GradeJob(str(n), p, LOOPHOLES[n % len(LOOPHOLES)], text) for n, (p, text) in enumerate(zip(problems, texts, strict=True))
    ]
    unjailed = in_process_reward({p.id: p for p in problems})
    with Grader("auto") as grader:
        taken = alternate(
            {
                (ours := f"jailed grader ({grader.level})"): lambda: [grader.grade(job) for job in jobs],
                (published := "published reward, 4 python -I"): lambda: [naive_reward(problem) for problem in problems],
                "python -I per program": lambda: [run_script(as_script(problem)) for problem in problems],
                "in this process, no jail": lambda: unjailed([[{"content": t}] for t in texts], [p.id for p in problems]),
            },
            rounds,
        )
    per_ms = {name: [1000 * s / len(jobs) for s in seconds] for name, seconds in taken.items()}
    series = [Series("grading", name, "ms per rollout", tuple(values)) for name, values in per_ms.items()]
    times = tuple(theirs / own for theirs, own in zip(taken[published], taken[ours], strict=True))
    return [*series, Series("grading", "published reward over jailed grader", "times", times)]


if __name__ == "__main__":
    run_part("grading", measure, __doc__)
