"""Where the time of a short run goes: seconds until each thing that it leaves behind, and CPU seconds of its processes.

python -m bench.start --out DIR [--set a.b=c ...]     # one update of the tiny preset; nothing else should run
"""

import argparse
import os
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import psutil

from bench.measure import about
from vgrout.files import write_json

ROOT = Path(__file__).parents[1]
MARKS = {  # files, when they are no longer empty
    "workers up": "run.json",
    "checkpoint 0": "checkpoints/00000/train.safetensors",
    "first batch": "journal.bin",
    "first update": "metrics.jsonl",
    "exported": "deploy/README.md",
}


def watch(command: list[str], run: Path) -> tuple[dict[str, float], dict[str, float]]:
    """(seconds until each mark, CPU seconds by process) of a command that makes `run`. Raises CalledProcessError."""
    began, seen, cpu = time.time(), {}, {}
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            for name, file in MARKS.items():
                if name not in seen and (run / file).exists() and (run / file).stat().st_size:
                    seen[name] = time.time() - began
            tree = psutil.Process(process.pid)
            for one in [tree, *tree.children(recursive=True)]:
                try:
                    spent, title = one.cpu_times(), one.cmdline()
                except psutil.Error:
                    continue
                cpu[one.pid] = (" ".join(title), spent.user + spent.system)
            time.sleep(0.1)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    seen["exit"] = time.time() - began
    total: dict[str, float] = defaultdict(float)
    for title, spent in cpu.values():
        total[short(title)] += spent
    return seen, dict(total)


def short(title: str) -> str:
    """A process's name: what Ray calls it, or the program or script."""
    words = [word for word in title.split() if not word.startswith("-")]
    scripts = [word for word in words if word.endswith(".py")]
    return words[0].split(".")[0] if title.startswith("ray::") else Path((scripts or words or ["?"])[0]).name


def main() -> None:
    """Run once, write start.json, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", dest="sets", action="append", default=[])
    args = parser.parse_args()
    run = args.out / f"run-{int(time.time())}"
    sets = ["train.updates=1", *args.sets]
    command = [sys.executable, "-m", "vgrout_cli.main", "train", "tiny", "--out", str(run), *(f"--set={s}" for s in sets)]
    seen, cpu = watch(command, run)
    write_json(args.out / "start.json", about("python -m bench.start") | {"seconds": seen, "cpu_s": cpu})
    print("\n".join(f"{seconds:7.2f} s  {name}" for name, seconds in seen.items()))
    print("\n".join(f"{seconds:7.2f} CPU s  {name}" for name, seconds in sorted(cpu.items(), key=lambda item: -item[1])))
    print(f"{sum(cpu.values()):7.2f} CPU s in all")


if __name__ == "__main__":
    main()
