"""The jail needs Linux: one clear refusal, to be called before anything is imported that only Linux has.

Invariant: imports nothing but the error it raises.
"""

import sys

from vgrout.errors import UserError

ADVICE = "Linux: run in a Linux container or virtual machine"


def require_linux() -> None:
    """Raise UserError off Linux."""
    if sys.platform != "linux":
        raise UserError("operating system", sys.platform, ADVICE)
