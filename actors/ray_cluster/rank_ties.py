"""Ties the ranks of a learner team: when one process ends, or its node is gone, all the others end as well.

Invariant: the driver hears within a minute that a rank died, whatever collective the others wait in: a killed process closes its
connections at once, and a node that is gone stops answering the kernel's probes. Collectives themselves give up much later.
"""

import os
import select
import socket
import threading

from learner.data_parallel import Team

RANK_LOST = 71  # exit code of a rank whose team is no longer whole
PROBES = {socket.TCP_KEEPIDLE: 10, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 4}  # seconds, seconds, number


def tie(team: Team, host: str) -> None:
    """End this process as soon as another rank's has ended. Every rank calls it, on its own `host`, once they have met."""
    listener = socket.create_server(("", 0)) if team.rank == 0 else None
    meeting = team.same((host, listener.getsockname()[1] if listener else 0))
    if listener:
        links = [listener.accept()[0] for _ in range(team.size - 1)]
        listener.close()
    else:
        links = [socket.create_connection(meeting)]
    for link in links:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in PROBES.items():
            link.setsockopt(socket.IPPROTO_TCP, option, value)

    def watch() -> None:
        select.select(links, [], [])  # nobody sends anything: what can be read is the end
        os._exit(RANK_LOST)

    threading.Thread(target=watch, name="rank-ties", daemon=True).start()
