"""What the scheduler is told (events) and what it asks for (actions).

The Ray executor and the simulator use the same messages. Invariant: a message holds no handle, no clock and no tensor; rollouts
and rewards stay with the executor, and messages name their groups by key.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from vgrout.group_records import Dropped, Key
from vgrout.rows import Row

LEARNER = "learner"


# Events: what happened.


@dataclass(frozen=True)
class Advanced:
    """An engine's slice of work is over. `aborted`: attempts whose version had become too old for any update."""

    engine: str
    finished: tuple[Key, ...] = ()
    aborted: tuple[Key, ...] = ()


@dataclass(frozen=True)
class Loaded:
    """An engine has loaded and checked a version, and new requests are written by it."""

    engine: str
    version: int
    canary_gap: float = 0.0


@dataclass(frozen=True)
class Rejected:
    """An engine refuses a version (digest or canary) and goes on with the one before."""

    engine: str
    version: int
    why: str


@dataclass(frozen=True)
class Graded:
    """A grader has graded a group."""

    grader: str
    key: Key


@dataclass(frozen=True)
class Updated:
    """The learner has finished an update; `version` is what it is now."""

    version: int


@dataclass(frozen=True)
class Published:
    """The bytes of a version are where engines can pull them."""

    version: int


@dataclass(frozen=True)
class Checkpointed:
    """The checkpoint of a version is on the disk, whole."""

    version: int


@dataclass(frozen=True)
class Restored:
    """A restarted learner has gone back to the checkpoint of `version`."""

    version: int


@dataclass(frozen=True)
class Died:
    """A part's process is gone, or is treated as gone because it does not answer."""

    name: str
    why: str


@dataclass(frozen=True)
class Started:
    """A part's new process is up."""

    name: str


@dataclass(frozen=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True)
class StopAsked:
    """SIGINT or SIGTERM: finish the running update, checkpoint, end."""

    signum: int


Event = Advanced | Loaded | Rejected | Graded | Updated | Published | Checkpointed | Restored | Died | Started | Tick | StopAsked

# Actions: what is to be done. Each one but Retire, Drop, Forget and End is answered by one event, or by Died.


@dataclass(frozen=True)
class Advance:
    """Give an engine more groups, and let it work for one slice of time. Answered by Advanced."""

    engine: str
    groups: tuple[Key, ...]
    version: int  # what the engine serves, and so writes the groups with


@dataclass(frozen=True)
class Load:
    """Let an engine pull, check and serve a published version. Answered by Loaded or Rejected."""

    engine: str
    version: int


@dataclass(frozen=True)
class Grade:
    """Answered by Graded."""

    grader: str
    key: Key


@dataclass(frozen=True)
class Update:
    """Train update `update` on the groups `keys`. Answered by Updated. `replay`: a learner that died had done it before."""

    update: int
    keys: tuple[Key, ...]
    replay: bool
    stats: Row = field(default_factory=dict)


@dataclass(frozen=True)
class Publish:
    """Put the bytes of the learner's version where engines pull them, once. Answered by Published."""

    version: int


@dataclass(frozen=True)
class Checkpoint:
    """Write the learner's state after `version` updates, with the ledger's settled ordinals. Answered by Checkpointed."""

    version: int
    frontier: int
    ahead: tuple[int, ...]


@dataclass(frozen=True)
class Restore:
    """Bring a new learner to the checkpoint of `version`. Answered by Restored."""

    version: int


@dataclass(frozen=True)
class Restart:
    """End the old process of a part, which may still run, and start a new one. Answered by Started."""

    name: str
    why: str = ""


@dataclass(frozen=True)
class Retire:
    """A part has used up its restarts; the run goes on without it."""

    name: str
    why: str = ""


@dataclass(frozen=True)
class Drop:
    """An attempt was given up; its rollouts can be deleted."""

    dropped: Dropped


@dataclass(frozen=True)
class Forget:
    """These groups are part of a checkpoint and are not needed any more."""

    keys: tuple[Key, ...]


class EndReason(StrEnum):
    """Why the driver ended."""

    DONE = "done"
    STOPPED = "stopped"  # asked to
    FLOOR = "floor"  # too few parts left; the run can be resumed


@dataclass(frozen=True)
class End:
    """The run is over; `why` is for people."""

    outcome: EndReason
    why: str = ""


Action = Advance | Load | Grade | Update | Publish | Checkpoint | Restore | Restart | Retire | Drop | Forget | End
