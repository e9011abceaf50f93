"""Asynchronous against synchronous training on the same budget of rollouts, engine and learner pinned to one core each.

    python -m bench.streaming --out out/bench-streaming                      # 3 seeds x (sync, async 0, 1, 4)
    python -m bench.streaming --out /tmp/try --seeds 1 --updates 3           # does it work

Every run is a real `vgrout train` with Ray and vLLM in a process of its own; the settings of a seed run one after the other, so
ratios are side by side. A run that is done is not run again: the same command goes on where it stopped. Writes results.json,
README.md and curves.png into --out. What is measured: the time from the first publish to the last recorded update.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.streaming_report import draw, markdown
from vgrout.errors import UserError
from vgrout.files import write_json, write_whole
from vgrout.provenance import commit, machine, versions
from vgrout.run_directory import RunDir

CONFIG = Path(__file__).parents[1] / "configs" / "tiny.toml"
SETS = ["runtime.learner_threads=1", "runtime.engines=1", "runtime.graders=1", "rollout.prompts=6"]
SETTINGS = {
    "sync": ["runtime.mode=sync"],
    "async 0": ["runtime.mode=async", "runtime.max_staleness=0"],
    "async 1": ["runtime.mode=async", "runtime.max_staleness=1"],
    "async 4": ["runtime.mode=async", "runtime.max_staleness=4"],
}
COLUMNS = ("rate/hack", "rate/solve", "reward/mean", "mismatch/kl", "staleness", "dropped", "time/wait_rollouts",
           "time/backpressure", "time/update", "rollouts", "completions/mean_length")  # fmt: skip


@dataclass(frozen=True)
class Result:
    """One run: `train_s` from the first publish to the last recorded update, `whole_s` with start and end; per-update records."""

    setting: str
    seed: int
    train_s: float
    whole_s: float
    updates: list[dict[str, Any]]


def pin(pid: int, core: int) -> None:
    """Put a process, all of its threads, on one core; what it starts later inherits that."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


def wait_for(path: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for a file that the run writes. Raises RuntimeError where the run ends before."""
    while not path.exists():
        if process.poll() is not None:
            raise RuntimeError(f"the run ended with {process.returncode} before {path.name}: {log.read_text()[-2000:]}")
        time.sleep(0.05)


def train(setting: str, seed: int, folder: Path, arm: str, updates: int) -> Result:
    """One run. When it first publishes, and so all parts are up, engine and learner are pinned."""
    out, points, log = folder / "run", folder / "points", folder / "log.txt"
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was not finished
    points.mkdir(parents=True)
    (points / "hold-publish-0").touch()
    sets = [*SETS, *SETTINGS[setting], f"train.updates={updates}", f"train.checkpoint_every={updates}"]
    command = [
        sys.executable,
        "-m",
        "vgrout_cli.main",
        "train",
        str(CONFIG),
        "--arm",
        arm,
        "--seed",
        str(seed),
        "--out",
        str(out),
    ]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    began = time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*command, *(f"--set={text}" for text in sets)],
            env={**environment, "VGROUT_KILL_POINTS": str(points)}, stdout=file, stderr=file,
        )  # fmt: skip
        try:
            wait_for(points / "publish-0", process, log)
            pids = json.loads((points / "publish-0").read_text())
            cores = sorted(os.sched_getaffinity(0))
            pin(pids["learner"], cores[0])
            pin(pids["engine-0"], cores[1])
            start = time.monotonic()
            (points / "hold-publish-0").unlink()
            while (out / "metrics.jsonl").read_bytes().count(b"\n") < updates and process.poll() is None:
                time.sleep(0.1)
            end = time.monotonic()
            code = process.wait()
        finally:
            process.kill()
    if code != 0:
        raise RuntimeError(f"{setting}, seed {seed}: exit code {code}: {log.read_text()[-2000:]}")
    rows = [{name: row.get(name) for name in COLUMNS} for row in RunDir(out).read("metrics.jsonl")]
    return Result(setting, seed, round(end - start, 2), round(time.monotonic() - began, 2), rows)


def main() -> None:
    """Run what is not done yet, and write all three files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[61, 62, 63])
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--arm", default="routev")
    args = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        raise SystemExit(str(UserError("bench.streaming", "one core", "two: one for the engine, one for the learner")))
    results: list[Result] = []
    for seed in args.seeds:
        for setting in SETTINGS:
            folder = (args.out / "runs" / f"{setting.replace(' ', '-')}-seed{seed}").resolve()
            if not (folder / "result.json").is_file():
                found = train(setting, seed, folder, args.arm, args.updates)
                write_json(folder / "result.json", asdict(found))
            results.append(Result(**json.loads((folder / "result.json").read_text())))
            last = results[-1]
            if len(last.updates) != args.updates:
                raise SystemExit(str(UserError(str(folder), f"{len(last.updates)} updates", f"{args.updates}, or another --out")))
            print(f"{setting}, seed {seed}: {last.train_s} s ({last.whole_s} s in all)", file=sys.stderr, flush=True)
    flags = f"--seeds {' '.join(map(str, args.seeds))} --updates {args.updates} --arm {args.arm}"
    about = {"command": f"python -m bench.streaming {flags}", "config": CONFIG.name, "set": SETS, "settings": SETTINGS,
             "machine": machine(), "versions": versions(), "commit": commit()}  # fmt: skip
    write_json(args.out / "results.json", {**about, "runs": [asdict(result) for result in results]})
    text = markdown(about, [asdict(result) for result in results])
    write_whole(args.out / "README.md", text)
    draw([asdict(result) for result in results], args.out / "curves.png")
    print(text)


if __name__ == "__main__":
    main()
