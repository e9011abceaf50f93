"""How learner and engines divide the memory of a GPU that they share.

Invariant: the plan and the processes ask here, so what the plan promises is what a process is held to.
"""

from vgrout.config_runtime import RuntimeConfig
from vgrout.errors import UserError

HEADROOM = 0.97  # of a GPU's memory that processes can use at all


def memory_share(runtime: RuntimeConfig) -> float:
    """The share of its GPU's memory that a learner may take: what the engines on the same GPU leave."""
    beside = int((1 - runtime.learner_gpus) / runtime.engine_gpus + 1e-9) if 0 < runtime.engine_gpus < 1 else 0
    left = HEADROOM - min(beside, runtime.engines) * runtime.engine_memory
    if left <= 0:
        found = f"{runtime.engine_memory:g} for each of {min(beside, runtime.engines)} engines beside a learner"
        raise UserError("runtime.engine_memory", found, "shares that leave something of the GPU")
    return left
