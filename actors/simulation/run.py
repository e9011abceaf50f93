"""Run one simulation and sum it up.

Invariant: a SimulationResult is made only of a simulation that kept all invariants (invariants.py).
"""

from collections import Counter, defaultdict

from actors.async_run import messages as e
from actors.async_run.loop import drive, new_scheduler
from actors.journal.journal import Past
from actors.planning.dry_run import publish_bytes
from actors.planning.model_shape import shape_of
from actors.simulation.cluster import Activity, Simulation
from actors.simulation.result import SimulationResult
from actors.simulation.scenario import Point, Scenario


def simulate(scenario: Scenario, point: Point) -> SimulationResult:
    """Run one point to its end. Raises Stuck, or InvariantBroken where the driver broke a promise."""
    simulation = Simulation(scenario, point)
    parts = simulation.engine_names, simulation.grader_names
    scheduler = new_scheduler(point.config, *parts, 0, {}, Past({}, [], [], []))
    end = drive(scheduler, simulation)
    simulation.checker.close(end.outcome, scheduler.ledger)
    return _result(simulation, point, end)


def _result(s: Simulation, point: Point, end: e.End) -> SimulationResult:
    seconds = s.clock

    def shares(names: list[str]) -> dict[str, float]:
        total: defaultdict[str, float] = defaultdict(float)
        for process in (s.parts[name] for name in names):
            for activity, spent in process.spent.items():
                total[activity] += spent
            if process.down_since is not None:
                total[Activity.DOWN] += seconds - process.down_since
        found = {name: spent / (seconds * len(names)) for name, spent in sorted(total.items())}
        return {**found, "idle": 1 - sum(found.values())}

    checker, versions = s.checker, len(s.publishes)
    size = publish_bytes(s.config, shape_of(s.config.model.path))
    publishes, loads = sum(s.publishes.values()) / versions, sum(s.loads.values()) / versions
    return SimulationResult(
        swept=point.swept,
        machines=-(-len(s.engine_names) // s.scenario.engines_per_node),
        engine_count=len(s.engine_names),
        grader_count=len(s.grader_names),
        outcome=end.outcome,
        why=end.why,
        updates=len(checker.consumed),
        groups=sum(map(len, checker.consumed.values())),
        seconds=seconds,
        learner=shares([e.LEARNER]),
        engines=shares(s.engine_names),
        graders=shares(s.grader_names),
        driver_busy=s.driver_s / seconds,
        ages=dict(sorted(s.ages.items())),
        dropped=dict(sorted(Counter(str(d.reason) for d in checker.dropped).items())),
        settled_unconsumed=sum(d.final and d.reason != "run_ended" for d in checker.dropped),
        deaths=dict(s.deaths),
        publishes_per_version=publishes,
        loads_per_version=loads,
        learner_bytes_per_version=publishes * size,
        engine_bytes_per_version=loads * size,
        events=s.heard,
    )
