"""A scenario of `vgrout simulate`: a run's configuration, how long everything takes, and what fails when.

Invariant: a `Scenario` that exists is valid, and its points (one Config each: the product of the values in `sweep`) are a pure
function of its file and of `sets`. Seconds unless a name says otherwise; times are the user's assumptions, nothing measures them.
"""

import dataclasses
import itertools
import json
import math
from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass

from vgrout.config import Config, load
from vgrout.errors import UserError
from vgrout.fields import HUGE, STRICT, option, required
from vgrout.named_files import find, is_path
from vgrout.rows import Row
from vgrout.toml_tables import read_toml
from vgrout.validate import validate

YEAR = 31_536_000.0  # seconds


def seconds(default: float, meaning: str) -> Any:
    """A time that may be 0."""
    return option(default, meaning, unit="seconds", ge=0, le=YEAR)


@dataclass(frozen=True, config=STRICT)
class EngineTimes:
    """How long an engine takes."""

    step_ms: float = required("One decode step.", unit="milliseconds", gt=0, le=1e9)
    sequence_ms: float = option(0.0, "What every running sequence adds to a step.", unit="milliseconds", ge=0, le=1e9)
    load_s: float = seconds(1.0, "Pull, load and canary of one version: nothing is decoded meanwhile, however many engines pull.")
    start_s: float = seconds(30.0, "The start of an engine's process.")
    mtbf_s: float = seconds(0.0, "Mean time between crashes of one engine; 0: none.")


@dataclass(frozen=True, config=STRICT)
class Lengths:
    """Completion lengths: lognormal, cut off at rollout.max_new_tokens."""

    median: float = required("The median.", unit="tokens", gt=0, le=1e9)
    sigma: float = option(0.0, "The standard deviation of the logarithm.", ge=0, le=100)


@dataclass(frozen=True, config=STRICT)
class LearnerTimes:
    """How long the learner takes."""

    update_s: float = seconds(0.0, "One update, whatever its tokens.")
    token_us: float = option(0.0, "What every completion token adds to an update.", unit="microseconds", ge=0, le=1e9)
    publish_s: float = seconds(0.0, "Publishing a version.")
    checkpoint_s: float = seconds(0.0, "Writing a checkpoint.")
    start_s: float = seconds(30.0, "The start of the learner's process.")
    restore_s: float = seconds(5.0, "Restoring a checkpoint.")

    def check(self) -> None:
        """Raise UserError for updates that take no time."""
        if self.update_s == 0 and self.token_us == 0:
            raise UserError("update_s", "updates that take no time", "update_s or token_us above 0")


@dataclass(frozen=True, config=STRICT)
class GraderTimes:
    """How long a grader takes, program after program."""

    program_s: float = seconds(0.0, "One program.")
    stuck_share: float = option(0.0, "Share of the programs that run into runtime.grade_deadline_s.", ge=0, le=1)
    start_s: float = seconds(5.0, "The start of a grader's process.")


@dataclass(frozen=True, config=STRICT)
class Slow:
    """A part that takes longer for everything."""

    part: str = required("The part: learner, engine-N or grader-N.", min_length=1)
    factor: float = required("How many times as long.", gt=0, le=1e9)


@dataclass(frozen=True, config=STRICT)
class Crash:
    """The process of a part dies."""

    part: str = required("The part: learner, engine-N or grader-N.", min_length=1)
    at_s: float = required("When.", unit="seconds", ge=0, le=YEAR)


@dataclass(frozen=True, config=STRICT)
class Partition:
    """A part keeps working but its answers do not arrive for a while. If it is declared dead, its new process is not affected."""

    part: str = required("The part: learner, engine-N or grader-N.", min_length=1)
    at_s: float = required("When.", unit="seconds", ge=0, le=YEAR)
    for_s: float = required("How long.", unit="seconds", ge=0, le=YEAR)


@dataclass(frozen=True, config=STRICT)
class Scenario:
    """A run's configuration, how long everything takes, and what fails when."""

    config: str = required("The run's preset: a packaged name, or a path relative to this file.", min_length=1)
    engine: EngineTimes = required("How long an engine takes.")
    lengths: Lengths = required("How long completions are.")
    learner: LearnerTimes = required("How long the learner takes.")
    grader: GraderTimes = option(GraderTimes(), "How long a grader takes.")
    arm: str = option("routev", "The run's arm.", min_length=1)
    seed: int = option(0, "Seed of lengths, grading times and crashes.", ge=0, le=2**63 - 1)
    set: tuple[str, ...] = option((), "Changes of the run's configuration, as with --set.")
    engines_per_node: int = option(8, "Engines of one machine, beside its runtime.graders graders.", ge=1, le=HUGE)
    driver_ms: float = option(0.0, "What the driver spends on every call made and heard of.", unit="milliseconds", ge=0, le=1e9)
    slow: tuple[Slow, ...] = option((), "Parts that are slow.")
    crash: tuple[Crash, ...] = option((), "Crashes.")
    partition: tuple[Partition, ...] = option((), "Network partitions.")


@dataclasses.dataclass(frozen=True)
class Point:
    """One simulation: its configuration, and the swept fields' values."""

    config: Config
    swept: Row

    def graders(self, scenario: Scenario) -> int:
        """Graders of all machines."""
        return self.config.runtime.graders * math.ceil(self.config.runtime.engines / scenario.engines_per_node)


def read(path: Path | str, seed: int | None = None, sets: list[str] | None = None) -> tuple[Scenario, list[Point]]:
    """Read a scenario file; `sets` (section.field=value) change its points' configuration. Raises UserError."""
    path = find("simulate", path)
    table = read_toml(path)
    sweep = table.pop("sweep", {})
    if seed is not None:
        table["seed"] = seed
    scenario = validate(Scenario, table, str(path))
    if not isinstance(sweep, dict) or not all(isinstance(values, list) and values for values in sweep.values()):
        raise UserError(f"{path}: sweep", repr(sweep), 'fields with lists of values, such as "runtime.engines" = [1, 8]')
    swept = [dict(zip(sweep, values, strict=True)) for values in itertools.product(*sweep.values())]
    return scenario, [_point(path, scenario, values, sets or []) for values in swept]


def _point(path: Path, scenario: Scenario, swept: Row, sets: list[str]) -> Point:
    # The asynchronous driver is what is simulated; max_staleness = 0 is its lock step.
    values = [f"{name}={json.dumps(value)}" for name, value in swept.items()]
    given = ["runtime.mode=async", "runtime.backend=ray", *scenario.set, *values, *sets]
    preset = path.parent / scenario.config if is_path(scenario.config) else scenario.config
    config = load(preset, arm=scenario.arm, seed=scenario.seed, sets=given)
    if config.runtime.mode != "async":
        raise UserError(f"{path}: runtime.mode", repr(config.runtime.mode), "'async', which is what is simulated")
    point = Point(config, swept)
    kinds = {"engine": config.runtime.engines, "grader": point.graders(scenario)}
    parts = {"learner", *(f"{kind}-{i}" for kind, count in kinds.items() for i in range(count))}
    for name in ("slow", "crash", "partition"):
        for fault in getattr(scenario, name):
            if fault.part not in parts:
                known = ", ".join(f"{kind}-0 to {kind}-{count - 1}" for kind, count in kinds.items())
                raise UserError(f"{path}: {name}.part", repr(fault.part), f"learner, {known}")
    return point
