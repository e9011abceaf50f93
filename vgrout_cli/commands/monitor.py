"""`vgrout monitor RUN`: choose the monitoring subset of the test split once, and freeze its ids in a file.

Invariant: the subset holds problems that the base solves and fails in the full test's proportion, at even steps through each
stratum's sorted ids: nothing is drawn, so there is no seed to search.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from vgrout.errors import UserError
from vgrout.files import read_as, read_json, write_json
from vgrout.rows import Row
from vgrout.run_directory import A_RUN, RunDir

SIZE = 64
SCHEMA = 1
A_SUBSET = "a monitoring subset made by `vgrout monitor`"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("run_dir", type=Path, metavar="RUN", help="a run whose checkpoint 0 (the base) has been evaluated")
    parser.add_argument("--out", type=Path, required=True, help="the file to write, e.g. configs/tiny/monitor.json")


def run(args: argparse.Namespace) -> int:
    """Read the base's audits, choose, write, print the proportions."""
    run_dir = RunDir.open(args.run_dir)
    place = run_dir.path / "eval/test_00000_deploy.json"
    if not place.is_file():
        raise UserError(str(place), "no such file", "the base's evaluation (vgrout eval-curve RUN makes it)")
    audits = read_json(place, "audits of the base")
    with read_as(place, "audits of the base"):
        solved = base_solved(audits)
    if not solved:
        raise UserError(str(place), "no audit", "audits of the base")
    chosen = choose(solved, SIZE)
    write_json(args.out, {"schema": SCHEMA, "test_sha256": test_digest(run_dir), **chosen})
    counts = {name: chosen[name] for name in ("solved", "solved_of", "failed", "failed_of")}
    print("base-solved {solved} of {solved_of}, base-failed {failed} of {failed_of}".format(**counts))
    return 0


def test_digest(run: RunDir) -> str:
    """SHA-256 of a run's test problems. Raises UserError where run.json does not say."""
    if "test" not in (digests := run.about().get("digests", {})):
        raise UserError(f"{run.path / 'run.json'}: digests", "no digest of the test problems", A_RUN)
    return digests["test"]


def base_solved(audits: list[Row]) -> dict[int, bool]:
    """Problem id -> whether the base's first completion is correct."""
    first: dict[int, bool] = {}
    for audit in audits:
        first.setdefault(audit["problem_id"], audit["correct"])
    return first


def choose(solved: dict[int, bool], size: int) -> Row:
    """At most `size` ids, and how many of how many the base solves and fails."""
    strata = [sorted(i for i, is_solved in solved.items() if is_solved is wanted) for wanted in (True, False)]
    size = min(size, len(solved))
    takes = [round(size * len(strata[0]) / len(solved)), 0]
    takes[1] = size - takes[0]
    ids = [i for stratum, take in zip(strata, takes, strict=True) for i in evenly(stratum, take)]
    return {
        "ids": sorted(ids),
        "solved": takes[0],
        "solved_of": len(strata[0]),
        "failed": takes[1],
        "failed_of": len(strata[1]),
    }


def evenly(items: Sequence[int], count: int) -> list[int]:
    """`count` items at even steps: the middles of `count` equal parts."""
    return [items[(2 * k + 1) * len(items) // (2 * count)] for k in range(count)]


def read(path: Path, test_sha256: str) -> list[int]:
    """The frozen ids. Raises UserError where the file is none, or was made for another test file."""
    about = read_json(path, A_SUBSET)
    with read_as(path, A_SUBSET):
        ids, made_for = [int(i) for i in about["ids"]], str(about["test_sha256"])
    if made_for != test_sha256:
        raise UserError(f"{path}: test_sha256", made_for[:12], f"{test_sha256[:12]}, the run's test file")
    return ids
