"""How many runs of a suite a Ray cluster holds at once.

Invariant: that many runs can be reserved one after the other (see cluster.py), so none waits for
another's actors.
"""

import os

from actors.planning.placement import Placement, grader_bundle, place
from vgrout.config import Config


def room(config: Config) -> int:
    """Runs like `config` that fit side by side into the cluster of RAY_ADDRESS, at least 1; 1 without a cluster."""
    if config.runtime.backend == "local" or not os.environ.get("RAY_ADDRESS"):
        return 1
    import ray

    from actors.ray_cluster.cluster import connect

    connect(config)
    nodes = [(n["Resources"].get("CPU", 0.0), n["Resources"].get("GPU", 0.0)) for n in ray.nodes() if n["Alive"]]
    ray.shutdown()
    return max(1, fitting(nodes, place(config), grader_bundle(config.runtime)))


def fitting(nodes: list[tuple[float, float]], placement: Placement, share: float) -> int:
    """How often `placement` fits into `nodes` (CPUs, GPUs), with `share` CPUs for graders on every node with that many CPUs."""
    grading = [cpus >= share for cpus, _ in nodes]
    free, count = [list(node) for node in nodes], 0
    while True:
        for cpus, gpus in placement.bundles:
            node = next((n for n in free if n[0] >= cpus and n[1] >= gpus), None)
            if node is None:
                return count
            node[0], node[1] = node[0] - cpus, node[1] - gpus
        for node, has_graders in zip(free, grading, strict=True):
            if has_graders:
                node[0] -= share
                if node[0] < 0:
                    return count
        count += 1
