"""A scenario of `vgrout simulate`: a run's configuration, and what no configuration knows: how long everything takes, what dies.

Invariant: a `Scenario` that exists is valid, and its points (one Config each: the product of the values in `sweep`) are a pure
function of its file and of `sets`. Seconds unless a name says otherwise; times are the user's assumptions, nothing measures them.
"""

import dataclasses
import itertools
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vgrout.config import Config, load
from vgrout.errors import UserError
from vgrout.toml_dataclass import build, read_toml


@dataclass(frozen=True)
class EngineTimes:
    """One decode step takes `step_ms`, and `sequence_ms` more per running sequence. A load: pull, load and canary, during which
    nothing is decoded, however many engines pull. `mtbf_s`: mean time between crashes of one engine, 0 for none."""

    step_ms: float
    sequence_ms: float = 0.0
    load_s: float = 1.0
    start_s: float = 30.0
    mtbf_s: float = 0.0


@dataclass(frozen=True)
class Lengths:
    """Completion tokens: lognormal with this median, `sigma` of the logarithm, cut off at rollout.max_new_tokens."""

    median: float
    sigma: float = 0.0


@dataclass(frozen=True)
class LearnerTimes:
    """An update takes `update_s`, and `token_us` (microseconds) more per completion token."""

    update_s: float = 0.0
    token_us: float = 0.0
    publish_s: float = 0.0
    checkpoint_s: float = 0.0
    start_s: float = 30.0
    restore_s: float = 5.0


@dataclass(frozen=True)
class GraderTimes:
    """Per program, one after the other; `stuck_share` of the programs run into runtime.grade_deadline_s."""

    program_s: float = 0.0
    stuck_share: float = 0.0
    start_s: float = 5.0


@dataclass(frozen=True)
class Slow:
    """A part that takes `factor` times as long for everything."""

    part: str
    factor: float


@dataclass(frozen=True)
class Crash:
    """The process of a part dies."""

    part: str
    at_s: float


@dataclass(frozen=True)
class Partition:
    """A part works on but is not heard for a while. Declared dead meanwhile, its new process is outside the partition."""

    part: str
    at_s: float
    for_s: float


@dataclass(frozen=True)
class Scenario:
    """`config` (relative to the file), `arm` and `set` make the run; one machine has `engines_per_node` engines and
    runtime.graders graders; the driver spends `driver_ms` on every call that it makes and hears of."""

    config: str
    engine: EngineTimes
    lengths: Lengths
    learner: LearnerTimes
    grader: GraderTimes = GraderTimes()
    arm: str = "routev"
    seed: int = 0
    set: tuple[str, ...] = ()
    engines_per_node: int = 8
    driver_ms: float = 0.0
    slow: tuple[Slow, ...] = ()
    crash: tuple[Crash, ...] = ()
    partition: tuple[Partition, ...] = ()


@dataclass(frozen=True)
class Point:
    """One simulation: its configuration, and the swept fields' values."""

    config: Config
    swept: dict[str, Any]

    def graders(self, scenario: Scenario) -> int:
        """Graders of all machines."""
        return self.config.runtime.graders * math.ceil(self.config.runtime.engines / scenario.engines_per_node)


def read(path: Path, seed: int | None = None, sets: list[str] | None = None) -> tuple[Scenario, list[Point]]:
    """Read a scenario file; `sets` (section.field=value) change its points' configuration. Raises UserError."""
    table = read_toml(path)
    sweep = table.pop("sweep", {})
    if seed is not None:
        table["seed"] = seed
    scenario: Scenario = build(Scenario, table, str(path), "")
    _check(scenario, str(path))
    if not isinstance(sweep, dict) or not all(isinstance(values, list) and values for values in sweep.values()):
        raise UserError(f"{path}: sweep", repr(sweep), 'fields with lists of values, such as "runtime.engines" = [1, 8]')
    swept = [dict(zip(sweep, values, strict=True)) for values in itertools.product(*sweep.values())]
    return scenario, [_point(path, scenario, values, sets or []) for values in swept]


def _point(path: Path, scenario: Scenario, swept: dict[str, Any], sets: list[str]) -> Point:
    # The asynchronous driver is what is simulated; max_staleness = 0 is its lock step.
    values = [f"{name}={json.dumps(value)}" for name, value in swept.items()]
    given = ["runtime.mode=async", "runtime.backend=ray", *scenario.set, *values, *sets]
    config = load(path.parent / scenario.config, arm=scenario.arm, seed=scenario.seed, sets=given)
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


def _check(scenario: Scenario, where: str) -> None:
    """Times are not negative, and what must take time does."""
    groups: list[tuple[str, Any]] = [(f"{name}.", getattr(scenario, name)) for name in ("engine", "lengths", "learner", "grader")]
    faults = [(f"{name}.", fault) for name in ("slow", "crash", "partition") for fault in getattr(scenario, name)]
    for prefix, group in [*groups, *faults, ("", scenario)]:
        for field in dataclasses.fields(group):
            value = getattr(group, field.name)
            if isinstance(value, float) and not 0 <= value < math.inf:
                raise UserError(f"{where}: {prefix}{field.name}", repr(value), "a number, at least 0")
    for name, value in {
        "engine.step_ms": scenario.engine.step_ms,
        "lengths.median": scenario.lengths.median,
        "engines_per_node": scenario.engines_per_node,
        "slow.factor": min((s.factor for s in scenario.slow), default=1.0),
    }.items():
        if value <= 0:
            raise UserError(f"{where}: {name}", repr(value), "a number above 0")
    if not 0 <= scenario.grader.stuck_share <= 1:
        raise UserError(f"{where}: grader.stuck_share", repr(scenario.grader.stuck_share), "a share, 0 to 1")
    if scenario.learner.update_s == 0 and scenario.learner.token_us == 0:
        raise UserError(f"{where}: learner", "updates that take no time", "update_s or token_us above 0")
