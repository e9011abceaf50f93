"""Whole training loops beside each other: our arms, synchronous and asynchronous and with the jail on, and TRL's GRPOTrainer.

    python -m bench.whole_loop --out out/bench                       # 5 alternating rounds, about 10 minutes when alone
    python -m bench.whole_loop --out /tmp/try --rounds 1 --updates 4  # does it work
    python -m bench.whole_loop --out DIR --subjects "trl" "vanilla"   # some of them

Every round runs every subject once, each as the real command in a process of its own with both cores to itself. A run's seconds
per update are counted from its first recorded update to the last but one (warm, and with work still ahead), its start from the
process's first moment to the beginning of the first update. `CPU s / cores` is all CPU time of all its processes in that
window, divided by the cores: no schedule of the same work could be faster, so it is the floor of that loop.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from bench.measure import Series, about, as_json, number, table
from vgrout.files import write_json, write_whole

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "tiny.toml"
ASYNC = ("runtime.mode=async",)
INITIAL = ("gate.probe_policy=initial", "gate.refresh_every=0")
PART = "whole loop"
LAPS = ("time/generate", "time/grade", "time/update", "time/publish", "reward_s")


@dataclass(frozen=True)
class Subject:
    """A run to time: TRL (`arm` empty) with our grader or without, or one of our arms with `sets`."""

    name: str
    arm: str = ""
    sets: tuple[str, ...] = ()
    grader: bool = False

    def command(self, out: Path, updates: int) -> tuple[list[str], Path]:
        """(command line, the file that gets a line per update)."""
        if not self.arm:
            flags = ["--updates", str(updates), *(["--grader"] if self.grader else [])]
            return [sys.executable, "-m", "bench.trl_run", str(out / "lines.jsonl"), *flags], out / "lines.jsonl"
        sets = [*self.sets, f"train.updates={updates}", f"train.checkpoint_every={updates}"]
        flags = ["--arm", self.arm, "--out", str(out / "run"), *(f"--set={text}" for text in sets)]
        return [sys.executable, "-m", "vgrout_cli.main", "train", str(CONFIG), *flags], out / "run" / "metrics.jsonl"


SUBJECTS = (
    Subject("TRL"),
    Subject("TRL, our grader", grader=True),
    Subject("vanilla", "vanilla"),
    Subject("routev", "routev"),
    Subject("routev, initial probe", "routev", INITIAL),
    Subject("routev, probed at completions", "routev", ("gate.probe_positions=completion",)),
    Subject("vanilla async", "vanilla", ASYNC),
    Subject("routev async", "routev", ASYNC),
)
BARS = {"vanilla": 0.6, "routev": 0.8, "vanilla async": 0.5, "routev async": 0.65}  # of TRL's wall time per update
START_BAR_S = 9.0


@dataclass
class Timed:
    """One run: when each update was recorded (seconds from the process's start), CPU seconds in the window, its records."""

    recorded_at: list[float] = field(default_factory=list)
    cpu_s: float = 0.0
    records: list[dict[str, Any]] = field(default_factory=list)

    @property
    def window(self) -> tuple[float, int]:
        """(seconds, updates) from the first recorded update to the last but one."""
        return self.recorded_at[-2] - self.recorded_at[0], len(self.recorded_at) - 2

    @property
    def per_update_s(self) -> float:
        """Wall seconds of an update."""
        seconds, updates = self.window
        return seconds / updates

    @property
    def start_s(self) -> float:
        """From the process's start to the beginning of the first update; a run in async mode counts its rollouts in."""
        first = self.records[0]
        laps = ("step_s",) if "step_s" in first else ("time/generate", "time/grade", "time/update", "time/publish")
        return self.recorded_at[0] - sum(first.get(lap, 0.0) for lap in laps)

    def lap(self, name: str) -> float | None:
        """Mean seconds of a stage over the window, where the run records that stage."""
        found = [record[name] for record in self.records[1:-1] if name in record]
        return sum(found) / len(found) if found else None


def cpu_seconds(process: psutil.Process) -> float:
    """CPU time of a process, its living descendants and all that they have waited for."""
    total = 0.0
    for one in [process, *process.children(recursive=True)]:
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def run_once(subject: Subject, folder: Path, updates: int) -> Timed:
    """One run of `updates` updates, timed from outside by the lines it writes. Raises RuntimeError where it fails."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    command, lines = subject.command(folder.resolve(), updates)
    timed, log, cpu_at_first = Timed(), folder / "log.txt", 0.0
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment |= {"OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(ROOT)}
    began = time.perf_counter()
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file, cwd=folder)
        try:
            while process.poll() is None:
                count = lines.read_bytes().count(b"\n") if lines.exists() else 0
                if count > len(timed.recorded_at):
                    timed.recorded_at += [time.perf_counter() - began] * (count - len(timed.recorded_at))
                    if count == 1:
                        cpu_at_first = cpu_seconds(psutil.Process(process.pid))
                    elif count == updates - 1:
                        timed.cpu_s = cpu_seconds(psutil.Process(process.pid)) - cpu_at_first
                time.sleep(0.01)
        finally:
            process.kill()
    if process.returncode != 0 or len(timed.recorded_at) != updates:
        raise RuntimeError(f"{subject.name}: exit code {process.returncode}: {log.read_text()[-2000:]}")
    timed.records = [json.loads(line) for line in lines.read_text().splitlines()]
    return timed


def measure(out: Path, rounds: int, updates: int, subjects: tuple[Subject, ...] = SUBJECTS) -> list[Series]:
    """All series of `rounds` alternating rounds."""
    values: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    cores = len(os.sched_getaffinity(0))
    for turn in range(rounds):
        for subject in subjects:
            timed = run_once(subject, out / "runs" / f"{subject.name.replace(' ', '-').replace(',', '')}-{turn}", updates)
            values[PART, subject.name, "s/update"].append(timed.per_update_s)
            values["floor of each loop: all its CPU time over the cores", subject.name, "s/update"].append(
                timed.cpu_s / timed.window[1] / cores
            )
            if "async" not in subject.name:
                values["start to first update", subject.name, "s"].append(timed.start_s)
            values["start to first recorded update", subject.name, "s"].append(timed.recorded_at[0])
            for lap in LAPS:
                if (seconds := timed.lap(lap)) is not None:
                    values["stages", f"{subject.name}: {lap.removesuffix('_s').removeprefix('time/')}", "s"].append(seconds)
            length = timed.lap("completions/mean_length")
            values["mean completion length", subject.name, "tokens"].append(length or 0.0)
            print(f"round {turn}: {subject.name}: {timed.per_update_s:.3f} s/update", file=sys.stderr, flush=True)
    return [Series(*key, tuple(found)) for key, found in values.items()]


def verdicts(series: list[Series]) -> str:
    """Each bar of the comparison, what was measured, and whether it holds."""
    medians = {(one.part, one.name): one.median for one in series}
    lines = ["| what | bar | measured | holds |", "| --- | --- | --- | --- |"]
    trl = medians.get((PART, "TRL"))
    for name, bar in BARS.items():
        if trl and (PART, name) in medians:
            ratio = medians[PART, name] / trl
            lines.append(f"| {name} / TRL, wall per update | <= {bar} | {number(ratio)} | {'yes' if ratio <= bar else 'no'} |")
    for name in ("vanilla", "routev"):
        start = medians.get(("start to first update", name))
        if start is not None:
            held = "yes" if start <= START_BAR_S else "no"
            lines.append(f"| {name}, start to first update | <= {START_BAR_S:g} s | {number(start)} s | {held} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, write whole_loop.json and whole_loop.md, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=8, help="per run, at least 3; the first and the last are not counted")
    parser.add_argument("--subjects", nargs="+", choices=[s.name for s in SUBJECTS], default=[s.name for s in SUBJECTS])
    args = parser.parse_args()
    chosen = tuple(s for s in SUBJECTS if s.name in args.subjects)
    said = about(f"python -m bench.whole_loop --rounds {args.rounds} --updates {args.updates}")
    series = measure(args.out, args.rounds, args.updates, chosen)
    write_json(args.out / "whole_loop.json", said | {"series": as_json(series)})
    text = verdicts(series) + "\n" + table(series)
    write_whole(args.out / "whole_loop.md", text)
    print(text)


if __name__ == "__main__":
    main()
