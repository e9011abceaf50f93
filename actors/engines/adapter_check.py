"""What every engine checks of a published adapter before it serves it: the digest of the bytes and the canary.

Invariant: a version that fails either check raises AdapterRejected and is never served.

The canary is a fixed text. Learner and engine compute the log-probability of each of its tokens, and the gaps between the
two are compared with the gaps on the untouched base, without an adapter. Anything beyond those is due to the adapter.
Their mean and a high quantile are bounded, not their maximum: in bfloat16 two correct kernels differ by .25 to .56 nats on
some token of a text of 170, while the mean stays at .03 to .05 (SmolLM2-135M on the CPU).
"""

import contextlib
import math
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from vgrout.files import sha256
from vgrout.records import AdapterVersion, Sampling


class AdapterRejected(RuntimeError):
    """The bytes or the behaviour of a published version differ from the learner's."""


def check_digest(adapter: AdapterVersion) -> None:
    """Raise AdapterRejected if the bytes do not have the digest that the learner published."""
    found = sha256(adapter.train, adapter.deploy)
    if found != adapter.digest:
        raise AdapterRejected(f"version {adapter.version}: digest {found[:12]} of the bytes, {adapter.digest[:12]} published")


@dataclass(frozen=True)
class Gap:
    """How far engine and learner are apart on the canary's tokens, in nats: mean and 95% quantile of the absolute gaps."""

    mean: float
    high: float


# Of the untouched base, in nats. Measured on SmolLM2-135M: bfloat16 mean .033 to .045, 95% quantile .12 to .15; float32 5e-5.
# More than this is no rounding: another model, another head, or another attention than the learner's.
BASE_LIMIT = {"float32": Gap(2e-3, 1e-2), "bfloat16": Gap(0.15, 0.6)}
# How many times the base's gap a version's may be: rounding falls out anew with every version. More as the learner itself moves
# away from the base, SHIFT nats a nat, up to MOST times the base's gap: an unlikely text is rounded more coarsely.
# Measured in bfloat16, as multiples of the base's mean and quantile. Right adapters: SmolLM2 .98 and 1.1 after a move of .08
# nats, 1.6 and 1.4 after 1.05; tiny model .45 to 1.2 and .6 to 2.0. Without the adapter, by the same moves: 2.1 and 2.4, 27 and
# 23; tiny model 1.4 (.02 nats, which is not seen), 3.0 (.04), 11 (.15).
GROWTH, SHIFT, MOST = Gap(1.5, 2.5), 0.1, 2.0
HIGH = 4.0  # a quantile may exceed that by this many tolerances


def gap_between(found: tuple[float, ...], expected: tuple[float, ...]) -> Gap:
    """Mean and 95% quantile of the gaps. A value that is not a number makes both infinite."""
    gaps = sorted(abs(a - b) for a, b in zip(found, expected, strict=True))
    if not all(map(math.isfinite, gaps)):
        return Gap(math.inf, math.inf)
    return Gap(sum(gaps) / len(gaps), gaps[math.ceil(0.95 * len(gaps)) - 1])


def check_base(adapter: AdapterVersion, found: tuple[float, ...], dtype: str) -> Gap:
    """The gap on the base without any adapter, which every version is compared with.

    Raises AdapterRejected where engine and learner do not compute the same base.
    """
    gap, limit = gap_between(found, adapter.canary_base), BASE_LIMIT[dtype]
    if gap.mean > limit.mean or gap.high > limit.high:
        raise AdapterRejected(
            f"engine and learner differ on the base itself, without an adapter: by {gap.mean:.2e} nats in the mean, 95% of tokens"
            f" by at most {gap.high:.2e}; {dtype} explains {limit.mean:g} and {limit.high:g}"
        )
    return gap


def check_canary(adapter: AdapterVersion, sampling: Sampling, found: tuple[float, ...], base: Gap, tolerance: float) -> float:
    """Mean gap (nats) between engine and learner on the canary. Raises AdapterRejected where it, or the 95% quantile, exceeds
    what the base's gap and the learner's own move explain by more than `tolerance` (HIGH times that for the quantile)."""
    expected = adapter.canary_train if sampling is Sampling.TRAIN else adapter.canary_deploy
    gap, moved = gap_between(found, expected), gap_between(expected, adapter.canary_base)
    limit = Gap(
        GROWTH.mean * base.mean + min(SHIFT * moved.mean, MOST * base.mean) + tolerance,
        GROWTH.high * base.high + min(SHIFT * moved.high, MOST * base.high) + HIGH * tolerance,
    )
    if gap.mean > limit.mean or gap.high > limit.high:
        raise AdapterRejected(
            f"version {adapter.version} ({sampling}): canary off by {gap.mean:.2e} nats in the mean (at most {limit.mean:.2e}),"
            f" 95% of tokens by at most {gap.high:.2e} ({limit.high:.2e}); without an adapter {base.mean:.2e} and {base.high:.2e}"
        )
    return gap.mean


PREFIX = "vgrout-adapters-"


def new_folder() -> Path:
    """Make an empty folder for this process's adapter files. Files of engines that were killed on this machine are removed."""
    sweep()
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))


def sweep() -> None:
    """Remove adapter folders of processes of this machine that do not exist any more."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        owner = path.name.removeprefix(PREFIX).split("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            with contextlib.suppress(OSError):  # another engine sweeps the same folder
                shutil.rmtree(path)
