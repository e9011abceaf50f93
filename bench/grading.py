"""Milliseconds to grade the tiny world's completions: jailed grader, a `python -I` per program, and no jail at all.

    python -m bench.grading --out out/bench [--rounds 5] [--short]

Half of the completions solve their problem, half of them hack it. The unjailed reward pays for correct code only and reads no
loophole: it is what a user of TRL writes first. See `bench.grader` for the jail levels one by one, on larger problems.
"""

from pathlib import Path

from bench.grader import as_script, run_script
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
                f"jailed grader ({grader.level})": lambda: [grader.grade(job) for job in jobs],
                "python -I per program": lambda: [run_script(as_script(problem)) for problem in problems],
                "in this process, no jail": lambda: unjailed([[{"content": t}] for t in texts], [p.id for p in problems]),
            },
            rounds,
        )
    per_ms = {name: [1000 * s / len(jobs) for s in seconds] for name, seconds in taken.items()}
    return [Series("grading", name, "ms per rollout", tuple(values)) for name, values in per_ms.items()]


if __name__ == "__main__":
    run_part("grading", measure, __doc__)
