"""What logging costs: the seconds that a run spends on its logs, on trackers, and on numbers that only a log reads.

    python -m bench.log_cost --out DIR [--updates 12] [--arm vanilla] [--set objective.kl=0]

One run of the tiny preset in one process (`runtime.backend=local`), with TensorBoard. The functions below are timed inside it, so
no second run without logs is needed, whose noise would be larger than the cost. A tracker's thread counts in full, as if nothing
ran beside it. The first update, in which trackers are imported, is left out. The journal is no log: resume reads it.
"""

import argparse
import importlib
import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from actors.ray_cluster.environment import prepare
from vgrout.config import load
from vgrout_cli import main as command

ROOT = Path(__file__).parents[1]

PARTS = {
    "files: rollouts, audits, timeline, metrics": ("actors.rollouts.recorder", "Recorder.update"),
    "KL to the base of a few rollouts": ("learner.ahead", "Ahead._watched"),
    "entropy, KL, mismatch, ratios": ("learner.fixed_terms", "FixedTerms.metrics"),
    "off-policy numbers": ("learner.fixed_terms", "FixedTerms.off_policy"),
    "the update's report": ("learner.learner", "report"),
}
TRACKER = "TensorBoard's thread"


def timed(work: Callable[..., Any], note: Callable[[float], None]) -> Callable[..., Any]:
    """`work`, with the seconds of every call handed to `note`."""

    def run(*args: Any, **options: Any) -> Any:
        began = time.perf_counter()
        try:
            return work(*args, **options)
        finally:
            note(time.perf_counter() - began)

    return run


def main() -> None:
    """Run, and print milliseconds of an update by part, and their share of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--updates", type=int, default=12)
    parser.add_argument("--arm", default="vanilla")
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="a.b=c")
    args = parser.parse_args()
    sets = [*args.sets, "runtime.backend=local", f"train.updates={args.updates}", f"train.checkpoint_every={args.updates}"]

    prepare(load(ROOT / "configs" / "tiny.toml", sets=sets))
    spent: dict[str, list[float]] = defaultdict(list)
    for name, (module, place) in PARTS.items():
        owner: Any = importlib.import_module(module)
        *outer, leaf = place.split(".")
        for one in outer:
            owner = getattr(owner, one)
        setattr(owner, leaf, timed(getattr(owner, leaf), spent[name].append))
    sinks: Any = importlib.import_module("actors.sinks")
    numbers, at = sinks.numbers, []

    def counted(row: Any) -> Any:  # called in the tracker's thread just before each line is written
        at.append(time.thread_time())
        return numbers(row)

    sinks.numbers = counted
    flags = ["--log", "tensorboard", *(f"--set={one}" for one in sets)]
    if code := command.main(["train", "tiny", "--arm", args.arm, "--out", str(args.out / "run"), *flags]):
        sys.exit(code)
    spent[TRACKER] = [after - before for before, after in pairwise(at)]
    rows = [json.loads(line) for line in (args.out / "run" / "metrics.jsonl").read_text().splitlines()]
    step = statistics.mean(row["time/step"] for row in rows[1:])
    print(f"\n{args.arm}, updates 1 to {args.updates - 1}, {step:.3f} s each\n")
    print("| part | ms an update | share |\n| --- | --- | --- |")
    total = 0.0
    for name, values in spent.items():
        mean = sum(values[1:]) / (args.updates - 1)
        total += mean
        print(f"| {name} | {1e3 * mean:.2f} | {100 * mean / step:.2f}% |")
    print(f"| all | {1e3 * total:.2f} | {100 * total / step:.2f}% |")


if __name__ == "__main__":
    main()
