"""Gradings per second of this tree beside those of an older commit, in turns in one run.

    python -m bench.grading_before [--commit 1bacb65] [--rounds 5] [--level auto]

The older commit is checked out into a temporary worktree. Every turn grades 48 right programs of the tiny world, of which every
second one defines `run_tests`, with one grader and with two side by side.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
COUNT = 48
WORKER = """
import os, sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
root, level, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
sys.path = [root, *(p for p in sys.path if not (Path(p) / "sandbox").is_dir())]
os.chdir(root)
try:
    from sandbox.grading.grader import Grader
    from sandbox.problems.load import load
except ImportError:
    from sandbox.grade import Grader
    from sandbox.problems import load
import sandbox
from vgrout.records import GradeJob, Mode
assert Path(sandbox.__file__).is_relative_to(root), sandbox.__file__
problems = load(Path("configs/tiny/train.jsonl"))[:count]
hack = "\\n\\ndef run_tests():\\n    print('all tests passed')\\n"
texts = [f"```python\\n{p.canonical_solution}{hack if n % 2 else ''}\\n```" for n, p in enumerate(problems)]
graders = [Grader(level) for _ in range(2)]
print("level", graders[0].level, flush=True)
for line in sys.stdin:
    mode, workers = line.split()[0], int(line.split()[1])
    jobs = [GradeJob(str(i), problem, Mode(mode), texts[i]) for i, problem in enumerate(problems)]

    def part(place):
        for job in jobs[place::workers]:
            audit = graders[place].grade(job)[1]
            assert audit.correct, audit

    began = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(part, range(workers)))
    print(time.perf_counter() - began, flush=True)
for grader in graders:
    grader.close()
"""


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """A worktree of `commit`, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="vgrout-before-") as folder:
        place = Path(folder) / "tree"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", place, commit], cwd=ROOT, check=True)
        try:
            yield place
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", place], cwd=ROOT, check=True)


class Subject:
    """One version's graders, in a process of their own."""

    def __init__(self, root: Path, level: str) -> None:
        command = [sys.executable, "-P", "-c", WORKER, str(root), level, str(COUNT)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.level = self._line()

    def _line(self) -> str:
        assert self.process.stdout is not None
        if not (line := self.process.stdout.readline()):
            raise RuntimeError("the graders ended; their complaint is above")
        return line.strip()

    def rate(self, mode: str, workers: int) -> float:
        """Gradings per second of one turn."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{mode} {workers}\n")
        self.process.stdin.flush()
        return COUNT / float(self._line())


def main() -> int:
    """Print a table: median and range of every version, and the median of the ratios within a turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--commit", default="1bacb65", help="the older version")
    parser.add_argument("--rounds", type=int, default=5, help="turns that count, after one that does not")
    parser.add_argument("--level", default="auto", help="jail level of both")
    args = parser.parse_args()
    with checked_out(args.commit) as older:
        subjects = {args.commit: Subject(older, args.level), "now": Subject(ROOT, args.level)}
        print({name: subject.level for name, subject in subjects.items()})
        for mode in ("gt_only", "run_tests"):
            for workers in (1, 2):
                turns = [{n: s.rate(mode, workers) for n, s in subjects.items()} for _ in range(args.rounds + 1)][1:]
                columns = {name: [turn[name] for turn in turns] for name in subjects}
                said = [f"{n} {statistics.median(v):.0f}/s ({min(v):.0f} to {max(v):.0f})" for n, v in columns.items()]
                ratio = statistics.median(turn["now"] / turn[args.commit] for turn in turns)
                print(f"{mode}, {workers} at once: {', '.join(said)}; now / {args.commit}: {ratio:.2f}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
