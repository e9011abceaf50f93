"""Several learners as one worker: all ranks update and restore together, rank 0 publishes and checkpoints for all.

Invariant: every rank has met the others before the first update, and a rank that fails ends the update of all.
"""

import socket
from dataclasses import dataclass
from typing import Any

import ray

from actors.ray_cluster.calls import OneActor, Pending
from learner.learner import Learner
from vgrout.records import AdapterVersion

ON_ALL_RANKS = ("prepare", "update", "restore")


class LearnerActor(Learner):
    """A Learner actor: it also tells the address at which the ranks meet, and the number of a published version."""

    def publish_signed(self) -> tuple[AdapterVersion, int]:
        """(the published adapter, its version), so that the small value can be read without pulling the large one."""
        adapter = self.publish()
        return adapter, adapter.version

    def address(self) -> str:
        """A free port of this node, as tcp://host:port."""
        with socket.socket() as probe:
            probe.bind(("", 0))
            return f"tcp://{ray.util.get_node_ip_address()}:{probe.getsockname()[1]}"


@dataclass(frozen=True)
class LearnerTeam:
    """The actors of all ranks, by rank, as the target of one learner's calls."""

    actors: tuple[Any, ...]

    def call(self, method: str, *args: object) -> Pending[Any]:
        """Submit to every rank what changes the learner, to rank 0 alone what reads it; rank 0's answer."""
        ranks = self.actors if method in ON_ALL_RANKS else self.actors[:1]
        pending = [OneActor(actor).call(method, *args) for actor in ranks]
        return pending[0]


def start_team(classes: list[Any], *what: object) -> LearnerTeam:
    """Start one actor per remote class (with its seat's options), by rank, of a Learner's arguments, and let them meet."""
    size = len(classes)
    actors = tuple(kind.remote(*what) for kind in classes)
    address = ray.get(actors[0].address.remote())
    ray.get([actor.join.remote(rank, size, address) for rank, actor in enumerate(actors)])
    return LearnerTeam(actors)
