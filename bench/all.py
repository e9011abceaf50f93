"""Every measurement of `bench/` in one run: results.json, README.md (one table) and whole_loop.png.

    python -m bench.all --out DIR              # all of it, 5 rounds each: about half an hour on 2 cores that do nothing else
    python -m bench.all --out DIR --short      # the smallest sizes, one round: does everything run
    python -m bench.all --out DIR --parts whole_loop publish

Each part is a process of its own (`python -m bench.PART`), one after the other; inside a part the candidates take turns. A part
that fails is named in the table and the command ends with exit code 1; the others are kept. Needs `pip install -e .[bench]` for
TRL's side.
"""

import argparse
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.measure import Series, about, table
from bench.whole_loop import verdicts
from vgrout.files import write_json, write_whole

PARTS = ("whole_loop", "update", "generate", "publish", "grading", "driver", "growth", "simulator")
GPU_PARTS = ("gpu_acceptance",)


def run_part(part: str, out: Path, rounds: int, short: bool) -> list[Series] | str:
    """The series of one part, or the last lines of what it said where it failed."""
    if find_spec(f"bench.{part}") is None:
        return "not in this checkout"
    small = ["--updates", "4"] if part == "whole_loop" else ["--short"]
    command = [sys.executable, "-m", f"bench.{part}", "--out", str(out), "--rounds", str(rounds), *(small if short else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        return "\n".join(done.stdout.splitlines()[-5:])
    rows: list[dict[str, Any]] = json.loads((out / f"{part}.json").read_text())["series"]
    return [Series(row["part"], row["name"], row["unit"], tuple(row["values"])) for row in rows]


def draw(series: list[Series], path: Path) -> None:
    """Wall seconds per update of the whole loops, with ranges, and the floor of each."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    loops = [one for one in series if one.part == "whole loop"]
    floors = {one.name: one.median for one in series if one.part.startswith("floor of each loop")}
    figure, axis = pyplot.subplots(figsize=(7, 0.5 * len(loops) + 1.2))
    for place, one in enumerate(loops):
        axis.barh(place, one.median, color="#888888" if one.name.startswith("TRL") else "#3b6ea5")
        axis.plot([min(one.values), max(one.values)], [place, place], color="black", linewidth=1.5)
        if one.name in floors:
            axis.plot([floors[one.name]] * 2, [place - 0.4, place + 0.4], color="#c44e52", linewidth=2)
    axis.set_yticks(range(len(loops)), [one.name for one in loops])
    axis.invert_yaxis()
    axis.set_xlabel("wall seconds per update: median, range (black); all CPU time over the cores (red)")
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def main() -> int:
    """Run the parts, write everything."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--parts", nargs="+", choices=[*PARTS, *GPU_PARTS])
    args = parser.parse_args()
    rounds = 1 if args.short else args.rounds
    parts = args.parts or [*PARTS, *(GPU_PARTS if torch.cuda.is_available() else ())]
    said = about("python -m bench.all " + " ".join(sys.argv[1:]))
    series: list[Series] = []
    failed: dict[str, str] = {}
    for part in parts:
        print(f"bench.{part}", file=sys.stderr, flush=True)
        found = run_part(part, args.out, rounds, args.short)
        if isinstance(found, str):
            failed[part] = found
        else:
            series += found
    write_json(args.out / "results.json", said | {"failed": failed, "series": [one.__dict__ for one in series]})
    lines = [f"`{said['command']}`", "", f"{said['machine']}, load {said['load']} at the start, commit {said['commit']}"]
    lines += ["", ", ".join(f"{name} {version}" for name, version in said["versions"].items()), ""]
    lines += [f"Not measured: {part}: {why}" for part, why in failed.items()]
    if any(one.part == "whole loop" for one in series):
        lines += [verdicts(series), "![Whole loops](whole_loop.png)"]
        draw(series, args.out / "whole_loop.png")
    write_whole(args.out / "README.md", "\n".join(lines) + "\n" + table(series))
    print((args.out / "README.md").read_text())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
