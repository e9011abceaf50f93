"""From the paths on the command line to the evidence: suites and run directories, sorted into what the tables use.

Invariant: every (arm, seed) counts once, at one common length; whatever is left out is kept in `unused` with its reason.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

from vgrout.config_relaxed import marked
from vgrout.errors import UserError
from vgrout.records import LOOPHOLES
from vgrout.rows import Row
from vgrout_cli.report.evidence import Run, RunStatus, base_of, main_length, read_run

SUITE_SCHEMA = 1
ARMS = ("base", "vanilla", "vanilla_full", "routev", "routev_ub", "placebo", "placebo_ub", "absorb", "ceiling")
HELD_OUT = "routev_heldout_"


@dataclass(frozen=True)
class Evidence:
    """All runs of a report. `runs` have the common length `updates` (the base: 0); `long` at least twice as many."""

    runs: tuple[Run, ...]
    long: tuple[Run, ...]
    unused: tuple[Run, ...]
    updates: int
    suites: tuple[Row, ...]

    def done(self, arm: str) -> dict[int, Run]:
        """Finished runs of an arm by seed."""
        return {r.seed: r for r in self.runs if r.arm == arm and r.status is RunStatus.DONE}

    def title(self, arm: str) -> str:
        """The arm's name, marked where its runs read audits in training: a comparator, and no method."""
        return next((marked(arm, run.facts["config"]) for run in self.of(arm) if run.config and run.config.is_relaxed), arm)

    def of(self, arm: str) -> list[Run]:
        """All runs of an arm, whatever came of them."""
        return [r for r in self.runs if r.arm == arm]

    @property
    def arms(self) -> list[str]:
        """The arms of the paper and whatever else was given, without the held-out ones."""
        others = {r.arm for r in self.runs if not r.arm.startswith(HELD_OUT)} - set(ARMS)
        return [*ARMS, *sorted(others)]

    @property
    def loopholes(self) -> tuple[str, ...]:
        """The four loopholes that come with vGROUT, and those that runs have of plug-in files."""
        own = {name: None for run in self.runs if run.config for name in run.config.data.plug_ins}
        return (*map(str, LOOPHOLES), *own)

    @property
    def held_out_arms(self) -> list[str]:
        """The held-out choices that were given, in order of their first appearance."""
        return list(dict.fromkeys(r.arm for r in self.runs if r.arm.startswith(HELD_OUT)))


def gather(paths: list[Path]) -> Evidence:
    """Read every path: a suite directory (suite.json) or a run directory (run.json).

    Raises UserError for any other path and for a foreign schema.
    """
    runs: list[Run] = []
    suites: list[Row] = []
    for path in dict.fromkeys(p.resolve() for p in paths):
        if (path / "suite.json").is_file():
            suite = _suite(path)
            suites.append(suite)
            runs += [_of_suite(path, suite, arm, seed) for arm in suite["arms"] for seed in suite["seeds"]]
        elif (path / "run.json").is_file():
            runs.append(read_run(path, path.name))
        else:
            raise UserError(str(path), "neither suite.json nor run.json", "a run directory or the --out of `vgrout suite`")
    _one_world(runs)
    return _sort(runs, suites)


def _suite(path: Path) -> Row:
    file = path / "suite.json"
    try:
        suite = json.loads(file.read_text())
    except json.JSONDecodeError as error:
        raise UserError(str(file), f"invalid JSON ({error})", "a whole suite.json") from None
    found = suite.get("schema") if isinstance(suite, dict) else suite
    if found != SUITE_SCHEMA:
        raise UserError(f"{file}: schema", repr(found), f"schema {SUITE_SCHEMA}")
    for key in ("suite", "arms", "seeds", "runs"):
        if key not in suite:
            raise UserError(f"{file}: {key}", "nothing", "suite.json as `vgrout suite` writes it")
    return suite


def _of_suite(path: Path, suite: Row, arm: str, seed: int) -> Run:
    """One run of a suite: what suite.json says of it decides, except that `done` needs a finished run directory."""
    name = f"{arm}/seed{seed}"
    entry = suite["runs"].get(name, {"status": "missing"})
    status, note, source = entry.get("status"), str(entry.get("error") or ""), f"{suite['suite']}/{name}"
    if status == "done":
        if not (path / name / "run.json").is_file():
            return Run(arm, seed, path / name, RunStatus.MISSING, source, "suite.json says done, but there is no run directory")
        run = read_run(path / name, source)
        if (run.arm, run.seed) != (arm, seed):
            raise UserError(str(path / name / "run.json"), f"arm {run.arm}, seed {run.seed}", f"arm {arm}, seed {seed}")
        return run
    try:
        return Run(arm, seed, path / name, RunStatus(status), source, note)
    except ValueError:
        known = "done, failed, missing or running"
        raise UserError(f"{path / 'suite.json'}: runs.{name}.status", repr(status), known) from None


def _one_world(runs: list[Run]) -> None:
    """Raise UserError for runs of other test problems and another base: nothing can be averaged over them.

    A run that differs in one of them alone is a fault of that run, which the checklist names.
    """
    first: tuple[object, object, Run] | None = None
    for run in runs:
        test, base = (run.facts.get("digests") or {}).get("test"), run.facts.get("base")
        first = first or ((test, base, run) if test and base else None)
        if first and test and base and test != first[0] and base != first[1]:
            wanted = f"those of {first[2].path}: a report is of one world"
            raise UserError(f"{run.path / 'run.json'}: digests.test, base", "other test problems and another base", wanted)


def _sort(runs: list[Run], suites: list[Row]) -> Evidence:
    length = main_length(runs)
    kept: dict[tuple[str, int], Run] = {}
    long: dict[tuple[str, int], Run] = {}
    unused = []
    for run in runs:
        key = (run.arm, run.seed)
        if run.updates >= 2 * length > 0:
            table = long
        elif run.updates in (length, 0, -1):
            table = kept
        else:
            unused.append(replace(run, note=f"{run.updates} updates, not {length}"))
            continue
        first, second = table.get(key), run
        if first is not None and first.status is not RunStatus.DONE:
            first, second = run, first  # a finished run stands for a failed one of the same arm and seed
        table[key] = first or run
        if first is not None:
            unused.append(replace(second, note=f"{second.status}; the same arm and seed as {first.source}"))
    bases = base_of(list(kept.values()))
    kept |= {(run.arm, run.seed): run for run in bases}
    return Evidence(tuple(kept.values()), tuple(long.values()), tuple(unused), length, tuple(suites))
