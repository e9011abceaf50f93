"""Several learners as one part: all ranks update and restore together, rank 0 publishes and checkpoints for all.

Invariant: every rank has met the others before the first update, and a rank that fails ends the update of all.
"""

import socket
from dataclasses import dataclass
from typing import Any

import ray

from learner.learner import Learner
from vgrout.config import Config
from vgrout.records import AdapterVersion, Pair

ON_ALL_RANKS = ("update", "restore")


class LearnerActor(Learner):
    """A Learner that can say where the others meet it, and that its publication is there."""

    def publish_signed(self) -> tuple[AdapterVersion, int]:
        """(the published adapter, its version): the small half can be looked at without pulling the large one."""
        adapter = self.publish()
        return adapter, adapter.version

    def address(self) -> str:
        """A free port of this node, as tcp://host:port."""
        with socket.socket() as probe:
            probe.bind(("", 0))
            return f"tcp://{ray.util.get_node_ip_address()}:{probe.getsockname()[1]}"


@dataclass(frozen=True)
class TeamPart:
    """Actor handles by rank, behind the two calls of any part."""

    handles: tuple[Any, ...]

    def start(self, method: str, *args: Any) -> Any:
        """Submit to every rank what changes the learner, to rank 0 alone what reads it; rank 0's ObjectRef."""
        ranks = self.handles if method in ON_ALL_RANKS else self.handles[:1]
        pending = [getattr(handle, method).remote(*args) for handle in ranks]
        return pending[0]


def spawn_team(remotes: list[Any], config: Config, pairs: list[Pair], fractions: list[tuple[float, ...]] | None) -> TeamPart:
    """Start one actor per remote class (with its seat's options), by rank, and let them meet."""
    size = len(remotes)
    handles = tuple(remote.remote(config, pairs, fractions) for remote in remotes)
    address = ray.get(handles[0].address.remote())
    ray.get([handle.join.remote(rank, size, address) for rank, handle in enumerate(handles)])
    return TeamPart(handles)
