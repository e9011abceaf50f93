"""What every engine checks of a published adapter before it serves it: the digest of the bytes and the canary.

Invariant: a version that fails either check raises AdapterRejected and is never served.
"""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from vgrout.files import sha256
from vgrout.records import AdapterVersion, Sampling


class AdapterRejected(RuntimeError):
    """A published version whose bytes or whose behaviour are not the learner's."""


def check_digest(adapter: AdapterVersion) -> None:
    """Raise AdapterRejected where the bytes are not those that the learner signed."""
    found = sha256(adapter.train + adapter.deploy)
    if found != adapter.digest:
        raise AdapterRejected(f"version {adapter.version}: digest {found[:12]} of the bytes, {adapter.digest[:12]} published")


def check_canary(adapter: AdapterVersion, sampling: Sampling, found: tuple[float, ...], tolerance: float) -> float:
    """Largest gap (nats) between engine and learner on the canary. Raises AdapterRejected above `tolerance`."""
    expected = adapter.canary_train if sampling is Sampling.TRAIN else adapter.canary_deploy
    gap = max(abs(a - b) for a, b in zip(found, expected, strict=True))
    if not gap <= tolerance:  # also catches NaN
        raise AdapterRejected(f"version {adapter.version} ({sampling}): canary off by {gap:.2e} nats, tolerance {tolerance:.0e}")
    return gap


PREFIX = "vgrout-adapters-"


def new_folder() -> Path:
    """An empty folder for this process's adapter files. What engines left that were killed on this machine is removed."""
    sweep()
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))


def sweep() -> None:
    """Remove adapter folders of processes of this machine that do not exist any more."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        owner = path.name.removeprefix(PREFIX).split("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            with contextlib.suppress(OSError):  # another engine sweeps the same folder
                shutil.rmtree(path)
