"""Reading a run directory that lies on some node of a Ray cluster.

Invariant: each node is searched by a task that runs on it, so a run on a node's own disk is found without a shared path.
The files come back with the digests that they had there.
"""

from pathlib import Path

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.ray_cluster.cluster import join
from vgrout.run_transfer import collect


def collect_from_cluster(address: str, run: Path) -> tuple[dict[str, tuple[str, bytes]], str]:
    """(files, where they were looked for): the files of the first node that has the run; empty where none has it.

    Raises UserError for an address that nothing answers at.
    """
    ours = not ray.is_initialized()
    if ours:
        join(address, "--address")
    try:
        read = ray.remote(collect)
        nodes = [node for node in ray.nodes() if node["Alive"]]
        for node in nodes:
            pinned = read.options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False))
            files = ray.get(pinned.remote(run))
            if files:
                return files, node["NodeManagerAddress"]
        return {}, f"any of {len(nodes)} nodes"
    finally:
        if ours:
            ray.shutdown()
