"""Gradings per second of this tree beside those of an older commit, in turns in one run.

    python -m bench.grading_before [--commit 1bacb65] [--rounds 5] [--level auto]

The older commit is checked out into a temporary worktree. Every turn grades 48 right programs of the tiny world four times, of
which every second one defines `run_tests`, with one grader and with two side by side, each in a process of its own as in a run.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
COUNT, PASSES, WORKERS = 48, 4, (1, 2)
WORKER = """
import os, sys
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
grader = Grader(level)
print("level", grader.level, flush=True)
for line in sys.stdin:
    mode, place, workers, passes = line.split()
    jobs = [GradeJob(str(i), problem, Mode(mode), texts[i]) for i, problem in enumerate(problems)]
    for job in jobs[int(place) :: int(workers)] * int(passes):
        audit = grader.grade(job)[1]
        assert audit.correct, audit
    print("done", flush=True)
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
    """One version's graders, each in a process of its own."""

    def __init__(self, root: Path, level: str) -> None:
        command = [sys.executable, "-P", "-c", WORKER, str(root), level, str(COUNT)]
        self.processes = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(max(WORKERS))
        ]
        self.level = {self._line(place) for place in range(len(self.processes))}

    def _line(self, place: int) -> str:
        out = self.processes[place].stdout
        assert out is not None
        if not (line := out.readline()):
            raise RuntimeError("a grader ended; its complaint is above")
        return line.strip()

    def rate(self, mode: str, workers: int) -> float:
        """Gradings per second of one turn."""
        began = time.perf_counter()
        for place in range(workers):
            into = self.processes[place].stdin
            assert into is not None
            into.write(f"{mode} {place} {workers} {PASSES}\n")
            into.flush()
        for place in range(workers):
            self._line(place)
        return COUNT * PASSES / (time.perf_counter() - began)


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
            for workers in WORKERS:
                turns = [{n: s.rate(mode, workers) for n, s in subjects.items()} for _ in range(args.rounds + 1)][1:]
                columns = {name: [turn[name] for turn in turns] for name in subjects}
                said = [f"{n} {statistics.median(v):.0f}/s ({min(v):.0f} to {max(v):.0f})" for n, v in columns.items()]
                ratio = statistics.median(turn["now"] / turn[args.commit] for turn in turns)
                print(f"{mode}, {workers} at once: {', '.join(said)}; now / {args.commit}: {ratio:.2f}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
