"""`vgrout simulate SCENARIO`: the asynchronous driver under a virtual clock, to plan a cluster: no GPU, no Ray, seconds.

Prints one table, a column per swept value. The times are the scenario's assumptions (actors/simulation/scenario.py says what
each one means); `time/update` and `staleness` in a real run's metrics.jsonl are what to compare them with.
"""

import argparse
import dataclasses
import sys
from pathlib import Path

from actors.simulation.result import table
from actors.simulation.scenario import read
from vgrout.files import to_json


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("scenario", type=Path, metavar="SCENARIO", help="a packaged scenario, e.g. cluster-size, or a file")
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="a.b=c", help="change one field of the run")
    parser.add_argument("--seed", type=int, help="seed of lengths, grading times and crashes (default: the scenario's)")
    parser.add_argument("--json", action="store_true", help="print JSON, one object per simulation")


def run(args: argparse.Namespace) -> int:
    """Simulate every point. Exit code 1 where one got stuck."""
    scenario, points = read(args.scenario, args.seed, args.sets)
    from actors.simulation.cluster import Stuck
    from actors.simulation.run import simulate

    results = []
    for point in points:
        try:
            results.append(simulate(scenario, point))
        except Stuck as stuck:
            print(f"vgrout: {args.scenario} {point.swept or ''}: {stuck}", file=sys.stderr)
            return 1
    if args.json:
        print(to_json([dataclasses.asdict(result) for result in results], indent=2))
    else:
        print(f"{args.scenario}, seed {scenario.seed}: simulated, with the scenario's own times\n\n{table(results)}")
    return 0
