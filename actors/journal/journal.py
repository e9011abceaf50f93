"""The journal of a run on the disk: what was sampled and graded, which batch each update took, what was dropped and why.

Invariants: a record is on the disk (fsync) before anything that follows from it is done; opening a journal cuts a torn tail,
names every damaged record by its offset, and never invents one. The learner never reads it.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from actors.journal.format import encode, scan
from vgrout.group_records import Dropped, Key, TakenBatch
from vgrout.records import Audit, FinishReason, Mode, Reward, Rollout, Sampling, Status
from vgrout.rows import Row


@dataclass(frozen=True)
class Graded:
    """One group, sampled and graded: what an update needs of it."""

    key: Key
    rollouts: list[Rollout]
    rewards: list[Reward]
    audits: list[Audit]

    @property
    def version(self) -> int:
        """The version that wrote it."""
        return self.rollouts[0].version


@dataclass(frozen=True)
class Past:
    """What a journal records after a checkpoint: graded groups, the batches that were taken, and ordinals dropped for good."""

    groups: dict[Key, Graded]
    batches: list[TakenBatch]
    dropped: list[int]
    notes: list[str]


class Journal:
    """Appends records to one file."""

    def __init__(self, path: Path) -> None:
        """Open a new journal, or one that `read` has repaired."""
        self._file = path.open("ab")

    def group(self, graded: Graded) -> None:
        """A group has been graded."""
        rollouts = [vars(r) for r in graded.rollouts]  # not `asdict`, which copies every token id
        rewards = [r.value for r in graded.rewards]
        audits = [vars(a) for a in graded.audits]
        key = [graded.key.ordinal, graded.key.attempt]
        self._append({"kind": "group", "key": key, "rollouts": rollouts, "rewards": rewards, "audits": audits})

    def batch(self, batch: TakenBatch) -> None:
        """An update takes these groups."""
        self._append({"kind": "batch", "update": batch.update, "keys": [[k.ordinal, k.attempt] for k in batch.keys]})

    def drop(self, dropped: Dropped) -> None:
        """An attempt was given up."""
        self._append({"kind": "drop", **vars(dropped)})

    def resume(self, update: int) -> None:
        """A process goes on with `update`: older records of that update and of later ones no longer count."""
        self._append({"kind": "resume", "update": update})

    def sync(self) -> None:
        """Make everything appended so far survive a power cut."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, record: Row) -> None:
        self._file.write(encode(record))


def read(path: Path, checkpoint: int) -> Past:
    """Read a journal from the checkpoint of version `checkpoint` on, and cut a torn tail off the file.

    If the record of a batch's group is damaged, the replay ends there: this batch and later ones are sampled again.
    """
    if not path.is_file():
        return Past({}, [], [], [])
    found = scan(path.read_bytes())
    notes = [f"{path}: {hole}" + ("; cut off" if hole.torn else "; skipped") for hole in found.holes]
    if found.end < path.stat().st_size:
        os.truncate(path, found.end)
    groups: dict[Key, Graded] = {}
    batches: dict[int, TakenBatch] = {}
    dropped: list[int] = []
    for record in found.records:
        match record["kind"]:
            case "group":
                graded = _graded(record)
                groups[graded.key] = graded
            case "batch":
                batches[record["update"]] = TakenBatch(record["update"], tuple(Key(*key) for key in record["keys"]))
            case "drop":
                groups.pop(Key(record["ordinal"], record["attempt"]), None)
                dropped += [record["ordinal"]] if record["final"] else []
            case "resume":
                batches = {u: b for u, b in batches.items() if u < record["update"]}
    return Past(groups, _replayable(batches, groups, checkpoint, notes), dropped, notes)


def _replayable(batches: dict[int, TakenBatch], groups: dict[Key, Graded], first: int, notes: list[str]) -> list[TakenBatch]:
    replay: list[TakenBatch] = []
    while batch := batches.get(first + len(replay)):
        if missing := [key for key in batch.keys if key not in groups]:
            lost = ", ".join(str(key.ordinal) for key in missing)
            notes.append(f"update {batch.update}: groups {lost} are not in the journal; sampled again from here on")
            break
        replay.append(batch)
    return replay


def _graded(record: Row) -> Graded:
    rollouts = [
        Rollout(
            **{
                **r,
                "mode": Mode(r["mode"]),
                "finish": FinishReason(r["finish"]),
                "sampling": Sampling(r["sampling"]),
                "prompt_ids": tuple(r["prompt_ids"]),
                "completion_ids": tuple(r["completion_ids"]),
                "logprobs": tuple(r["logprobs"]),
            }
        )
        for r in record["rollouts"]
    ]
    audits = [Audit(**{**a, "mode": Mode(a["mode"]), "status": Status(a["status"])}) for a in record["audits"]]
    rewards = [Reward(rollout.id, value) for rollout, value in zip(rollouts, record["rewards"], strict=True)]
    return Graded(Key(*record["key"]), rollouts, rewards, audits)
