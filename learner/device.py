"""Where a part computes: on the GPU where the configuration books a share of one, on the CPU otherwise.

Invariant: a share that is booked is used, or the run is refused; nothing falls back to the CPU in silence.
"""

import torch

from vgrout.errors import UserError

DRIVER = "a driver that the installed torch can use (CUDA 13 wheels need R580 or newer: nvidia-smi says which is there)"


def device(share: float, field: str) -> str:
    """ "cuda" or "cpu" for a configured share of a GPU. Raises UserError naming `field` where no GPU can be used."""
    if not share:
        return "cpu"
    if not torch.cuda.is_available():
        built = torch.version.cuda or "none: this is a CPU build"
        found = f"{share:g}, but torch sees no GPU here (CUDA of the build: {built})"
        raise UserError(field, found, f"{DRIVER}; or {field}=0 for the CPU")
    return "cuda"
