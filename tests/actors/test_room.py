"""How many runs fit into a cluster: by GPU, by CPU, and by the graders that every run has on every node."""

from pathlib import Path

import pytest

from actors.planning.placement import grader_bundle, place
from actors.ray_cluster.capacity import fitting, room
from vgrout.config import load

QWEN = Path("configs/qwen3-4b.toml")


@pytest.mark.parametrize(
    ("nodes", "sets", "runs"),
    [
        ([(64.0, 8.0)], [], 8),  # learner and engine share a GPU; 8 graders book 2 CPUs
        ([(64.0, 8.0)], ["runtime.learner_gpus=1", "runtime.engine_gpus=1", "runtime.engines=3"], 2),
        ([(10.0, 8.0)], [], 3),  # 3 CPUs a run
        ([(16.0, 2.0), (16.0, 2.0)], [], 4),
        ([(4.0, 8.0), (64.0, 0.0)], [], 1),  # a second run's graders find no room on the small node
        ([(64.0, 0.0)], [], 0),
    ],
)
def test_runs_are_counted_as_they_are_reserved(nodes, sets, runs):
    config = load(QWEN, sets=sets)
    assert fitting(nodes, place(config), grader_bundle(config.runtime)) == runs


def test_without_a_cluster_one_run_at_a_time(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert room(load(QWEN)) == 1
