"""How many runs of a suite a Ray cluster holds at once.

Invariant: runs that are started together never wait for each other's actors, so none of them can starve another.
"""

import os

from actors.parts import ENGINE_CPUS, GRADER_CPUS, LEARNER_CPUS, connect
from vgrout.config import Config


def room(config: Config) -> int:
    """Runs like `config` that fit side by side into the cluster of RAY_ADDRESS; 1 without one. Raises UserError if none fits."""
    if config.runtime.backend == "local" or "RAY_ADDRESS" not in os.environ:
        return 1
    import ray

    connect(config)
    have, r = ray.cluster_resources(), config.runtime
    ray.shutdown()
    need = {
        "CPU": r.engines * ENGINE_CPUS + r.learners * LEARNER_CPUS + r.graders * GRADER_CPUS,
        "GPU": r.engines * r.engine_gpus + r.learners * r.learner_gpus,
    }
    return min(int(have.get(name, 0) / amount) for name, amount in need.items() if amount)
