"""Several learners as one worker: all ranks update and restore together, rank 0 publishes and checkpoints for all.

Invariant: every rank has met the others before the first update, and a rank that fails ends all of them (rank_ties.py).
"""

from dataclasses import dataclass
from typing import Any

import ray

from actors.ray_cluster.calls import OneActor, Pending

ON_ALL_RANKS = ("prepare", "update", "restore")


@dataclass(frozen=True)
class LearnerTeam:
    """The actors of all ranks, by rank, as the target of one learner's calls. Each argument goes into the object store once."""

    actors: tuple[Any, ...]

    def call(self, method: str, *args: object) -> Pending[Any]:
        """Submit to every rank what changes the learner, to rank 0 alone what reads it; rank 0's answer."""
        if method not in ON_ALL_RANKS:
            return OneActor(self.actors[0]).call(method, *args)
        put = [one if isinstance(one, Pending) else Pending(ray.put(one)) for one in args]
        rank_0, *_ = [OneActor(actor).call(method, *put) for actor in self.actors]
        return rank_0


def team_of(actors: tuple[Any, ...]) -> LearnerTeam:
    """Let the learners of these actors meet before any later call; they are ranks 0, 1, ... in order. Does not wait for it."""
    address = actors[0].call.remote("address")
    for rank, actor in enumerate(actors):
        actor.call.remote("join", rank, len(actors), address)
    return LearnerTeam(actors)
