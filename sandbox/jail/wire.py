"""The control channel between a Runner (trusted) and its zygote: one small message at a time, with descriptors attached.

Invariant: SOCK_SEQPACKET keeps message borders, so a read is one whole message or the end of the other side.
Only trusted processes hold this channel; a forked child closes it before the program runs.
"""

import json
import socket
from typing import Any

Message = dict[str, Any]  # what JSON carries
MAX_MESSAGE = 1 << 16
MAX_DESCRIPTORS = 5


def send(channel: socket.socket, message: Message, descriptors: list[int] | None = None) -> None:
    """Send one message. Raises OSError where the other side is gone."""
    socket.send_fds(channel, [json.dumps(message).encode()], descriptors or [])


def receive(channel: socket.socket) -> tuple[Message, list[int]] | None:
    """Return (message, descriptors), or None at the end. The caller owns the descriptors. Raises OSError."""
    data, descriptors, _, _ = socket.recv_fds(channel, MAX_MESSAGE, MAX_DESCRIPTORS)
    return (json.loads(data), list(descriptors)) if data else None
