"""A Ray of this process's own without what one run does not use: autoscaler's monitor, dashboard's server, log monitor.

They cost two seconds at every start, on the way to the first actor, and as many of a core. Invariant: only a Ray that this
process starts for itself is made like this, and only in the version named here; any other version starts as it comes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import ray
from ray._private import utils
from ray._private.node import Node

RAY_VERSION = "2.60.0"


@contextmanager
def bare() -> Iterator[None]:
    """A node that is started inside the block gets no more than its store, its scheduler and the two agents of its workers."""
    if ray.__version__ != RAY_VERSION:
        yield
        return
    with (
        patch.object(Node, "start_monitor", _nothing),
        patch.object(Node, "start_log_monitor", _nothing),
        patch.object(Node, "start_api_server", _no_address),
        # Asked by importing the dashboard into this process. Any answer but None leaves the agent without its web server.
        patch.object(utils, "get_dashboard_dependency_error", lambda: ImportError("not asked for")),
    ):
        yield


def _nothing(self: Any) -> None:
    pass


def _no_address(self: Any, **_: object) -> None:
    self._webui_url = ""
