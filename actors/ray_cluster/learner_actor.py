"""A learner in an actor's process."""

import socket

import ray

from learner.learner import Learner
from vgrout.records import AdapterVersion


class LearnerActor(Learner):
    """A Learner that also tells the address at which the ranks meet, and the number of a published version."""

    def publish_signed(self) -> tuple[AdapterVersion, int]:
        """(the published adapter, its version), so that the small value can be read without pulling the large one."""
        adapter = self.publish()
        return adapter, adapter.version

    def address(self) -> str:
        """A free port of this node, as tcp://host:port."""
        with socket.socket() as probe:
            probe.bind(("", 0))
            return f"tcp://{ray.util.get_node_ip_address()}:{probe.getsockname()[1]}"
