"""A learner in an actor's process."""

import os
import socket
import traceback

import ray

from actors.ray_cluster.rank_ties import RANK_LOST, tie
from learner.learner import Learner
from vgrout.records import AdapterVersion


class LearnerActor(Learner):
    """A Learner that also tells the address at which the ranks meet, and the number of a published version."""

    def publish_signed(self) -> tuple[AdapterVersion, int]:
        """(the published adapter, its version), so that the small value can be read without pulling the large one."""
        adapter = self.publish()
        return adapter, adapter.version

    def join(self, rank: int, size: int, address: str) -> None:
        """Become one of a team. A rank that cannot ends its process: alone it would train as if it were all of them."""
        try:
            super().join(rank, size, address)
            tie(self.team, ray.util.get_node_ip_address())
        except Exception:
            traceback.print_exc()
            os._exit(RANK_LOST)

    def address(self) -> str:
        """A free port of this node, as tcp://host:port."""
        with socket.socket() as probe:
            probe.bind(("", 0))
            return f"tcp://{ray.util.get_node_ip_address()}:{probe.getsockname()[1]}"
