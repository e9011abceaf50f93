"""The state of every run of a suite: suite.json, written whole after every change, and progress.jsonl, one event a line.

Invariant: whether a run is done is read from its own directory, never from suite.json, so a suite killed at any moment goes on.
"""

import time
from enum import StrEnum
from pathlib import Path

from vgrout.files import read_as, read_json, to_json, write_json
from vgrout.provenance import commit, machine, versions
from vgrout.rows import Row
from vgrout_cli.suite.plan import Job, Suite

SCHEMA = 1


class RunStatus(StrEnum):
    """`missing` is a run that was not started, was interrupted (and can go on), or waits in vain for a failed one."""

    MISSING = "missing"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


def is_done(path: Path) -> bool:
    """Whether a run is trained and evaluated: its curve is the last file written."""
    return (path / "eval_curve.jsonl").is_file()


class SuiteState:
    """suite.json and progress.jsonl of one folder."""

    def __init__(self, suite: Suite, jobs: list[Job], out: Path) -> None:
        """Take over the seconds and errors of an earlier session; the statuses come from the run directories."""
        self.out = out
        place, expected = out / "suite.json", "suite.json as `vgrout suite` writes it"
        suite_file = read_json(place, expected) if place.exists() else {"runs": {}}
        with read_as(place, expected):
            old = {name: dict(run) for name, run in suite_file["runs"].items()}
        self.runs: dict[str, Row] = {}
        for job in jobs:
            before = old.get(job.name, {})
            done = is_done(job.path)
            failed = not done and before.get("status") == RunStatus.FAILED
            status = RunStatus.DONE if done else RunStatus.FAILED if failed else RunStatus.MISSING
            self.runs[job.name] = {
                "status": status,
                "seconds": before.get("seconds", 0.0),
                "error": before.get("error", "") if failed else "",
            }
        self.about = {
            "schema": SCHEMA,
            "suite": suite.name,
            "config": suite.config.name,
            "arms": list(suite.arms),
            "seeds": list(suite.seeds),
            "set": list(suite.sets),
            "parallel": suite.parallel,
            "versions": versions(),
            "commit": commit(),
            "machine": machine(),
        }

    def write(self) -> None:
        """Write suite.json."""
        write_json(self.out / "suite.json", {**self.about, "runs": self.runs})

    def change(self, name: str, status: RunStatus, seconds: float = 0.0, error: str = "") -> None:
        """Set a run's status, add to its seconds, write suite.json and one line of progress.jsonl."""
        run = self.runs[name]
        run |= {"status": status, "seconds": round(run["seconds"] + seconds, 1), "error": error}
        self.write()
        event = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "run": name, **run, "left": self.left()}
        with (self.out / "progress.jsonl").open("a") as file:
            file.write(to_json(event) + "\n")

    def left(self) -> int:
        """Runs that are not done."""
        return sum(run["status"] != RunStatus.DONE for run in self.runs.values())

    def typical_seconds(self) -> float | None:
        """Mean seconds of a done run; None before the first."""
        known = [run["seconds"] for run in self.runs.values() if run["status"] == RunStatus.DONE and run["seconds"]]
        return sum(known) / len(known) if known else None
