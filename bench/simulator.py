"""Events per second of `vgrout simulate`, which runs the driver's own decisions: how many engines one driver can attend to.

    python -m bench.simulator --out out/bench [--rounds 5] [--short]

For 8, 64 and 512 engines of configs/simulate/cluster-size.toml: events per wall second of one core (the decisions alone), and
the share of the virtual time that the driver would be busy with real calls at the scenario's `driver_ms` each.
"""

import time
from collections import defaultdict
from pathlib import Path

from actors.simulation.run import simulate
from actors.simulation.scenario import read
from bench.measure import Series, run_part

SCENARIO = Path(__file__).parents[1] / "configs/simulate/cluster-size.toml"
ENGINES = (8, 64, 512)


def measure(rounds: int, short: bool) -> list[Series]:
    """Events per second and the driver's busy share, by engines."""
    sets = ["train.updates=2"] if short else ["train.updates=10"]
    scenario, points = read(SCENARIO, None, sets)
    chosen = [p for p in points if p.config.runtime.engines in (ENGINES[:1] if short else ENGINES)]
    speed, busy = defaultdict(list), defaultdict(list)
    for _ in range(rounds):
        for point in chosen:
            began = time.perf_counter()
            result = simulate(scenario, point)
            speed[point.config.runtime.engines].append(result.events / (time.perf_counter() - began))
            busy[point.config.runtime.engines].append(100 * result.driver_busy)
    return [
        *(Series("simulator", f"{n} engines", "events/s", tuple(v)) for n, v in speed.items()),
        *(Series("driver busy with calls, simulated", f"{n} engines", "% of one core", tuple(v[:1])) for n, v in busy.items()),
    ]


if __name__ == "__main__":
    run_part("simulator", measure, __doc__)
