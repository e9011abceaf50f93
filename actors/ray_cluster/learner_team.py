"""Several learners as one worker: all ranks update and restore together, rank 0 publishes and checkpoints for all.

Invariant: every rank has met the others before the first update, and a rank that fails ends the update of all.
"""

from dataclasses import dataclass
from typing import Any

import ray

from actors.ray_cluster.calls import OneActor, Pending

ON_ALL_RANKS = ("prepare", "update", "restore")


@dataclass(frozen=True)
class LearnerTeam:
    """The actors of all ranks, by rank, as the target of one learner's calls."""

    actors: tuple[Any, ...]

    def call(self, method: str, *args: object) -> Pending[Any]:
        """Submit to every rank what changes the learner, to rank 0 alone what reads it; rank 0's answer."""
        ranks = self.actors if method in ON_ALL_RANKS else self.actors[:1]
        pending = [OneActor(actor).call(method, *args) for actor in ranks]
        return pending[0]


def team_of(actors: tuple[Any, ...]) -> LearnerTeam:
    """Let the learners of these actors meet; they are ranks 0, 1, ... in order."""
    address = ray.get(actors[0].call.remote("address"))
    ray.get([actor.call.remote("join", rank, len(actors), address) for rank, actor in enumerate(actors)])
    return LearnerTeam(actors)
