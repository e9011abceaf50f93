"""What every measurement here is made of: a named series of values, taken in turns with the others, and how it is printed.

Invariant: candidates of one comparison alternate (A B C, A B C, ...), so a machine that is busy for a while is busy for all of
them; what is printed is the median and the range of the rounds, beside the machine and the versions.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from vgrout.files import write_json, write_whole
from vgrout.provenance import commit, machine, versions

EXTRA_PACKAGES = ("trl", "accelerate", "datasets")


@dataclass(frozen=True)
class Series:
    """One measured quantity: `part` is the comparison, `name` the candidate, `values` one number per round in `unit`."""

    part: str
    name: str
    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """Middle of the rounds."""
        return statistics.median(self.values)


def alternate(candidates: Mapping[str, Callable[[], object]], rounds: int, warm: int = 1) -> dict[str, list[float]]:
    """Wall seconds of every candidate, `rounds` times in turns, after `warm` rounds that do not count."""
    taken: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(-warm, rounds):
        for name, work in candidates.items():
            began = time.perf_counter()
            work()
            if turn >= 0:
                taken[name].append(time.perf_counter() - began)
    return taken


def as_series(part: str, taken: Mapping[str, Sequence[float]], unit: str = "s") -> list[Series]:
    """What `alternate` returned, as series."""
    return [Series(part, name, unit, tuple(values)) for name, values in taken.items()]


def about(command: str) -> dict[str, Any]:
    """What stands beside every number: command, machine, load, versions, commit."""
    found = versions()
    for name in EXTRA_PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    load = round(os.getloadavg()[0], 2)
    return {"command": command, "machine": machine(), "load": load, "versions": found, "commit": commit()}


def number(value: float) -> str:
    """Three significant digits, without an exponent for what people read as a number."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def table(series: Sequence[Series]) -> str:
    """Markdown: one row a series, one section a comparison."""
    lines: list[str] = []
    for part in dict.fromkeys(one.part for one in series):
        rows = [one for one in series if one.part == part]
        lines += ["", f"### {part}", "", "| what | median | range | rounds |", "| --- | --- | --- | --- |"]
        for one in rows:
            low, high = number(min(one.values)), number(max(one.values))
            lines.append(f"| {one.name} | {number(one.median)} {one.unit} | {low} to {high} | {len(one.values)} |")
    return "\n".join(lines).strip() + "\n"


def as_json(series: Sequence[Series]) -> list[dict[str, Any]]:
    """Series with their medians, for results.json."""
    return [asdict(one) | {"median": one.median} for one in series]


def run_part(name: str, measure: Callable[..., list[Series]], doc: str | None, numbers: Sequence[str] = ()) -> None:
    """The command line of one comparison: `measure(rounds, short)`, then DIR/NAME.json and NAME.md, and the table printed.

    `numbers`: names of further options, which `measure` takes as integers or None.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--short", action="store_true", help="the smallest sizes: does it work")
    for option in numbers:
        parser.add_argument(f"--{option}", type=int)
    args = parser.parse_args()
    more = {option: vars(args)[option] for option in numbers}
    words = [f" --{option} {value}" for option, value in more.items() if value is not None]
    said = about(f"python -m bench.{name} --rounds {args.rounds}" + (" --short" if args.short else "") + "".join(words))
    series = measure(args.rounds, args.short, **more)
    write_json(args.out / f"{name}.json", said | {"series": as_json(series)})
    write_whole(args.out / f"{name}.md", table(series))
    print(table(series), file=sys.stdout, flush=True)
