"""The journal of a run on the disk: what was sampled and graded, which batch each update took, what was dropped and why.

Invariants: a record is on the disk (fsync) before anything that follows from it is done; reading a journal cuts a torn tail,
names every damaged record by its offset, and never invents one. Groups that the checkpoint's updates took are neither kept in
memory nor, once a run goes on from it, on the disk. The learner never reads it.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from actors.journal.format import HEADER, Hole, Place, decode, encode, read_at, walk
from vgrout.group_records import Dropped, Key, TakenBatch
from vgrout.records import Audit, FinishReason, Reward, Rollout, Sampling, Status
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
    """What a journal records after a checkpoint: graded groups, the batches that were taken, and ordinals dropped for good.

    Groups of batches from before the checkpoint are not among them.
    """

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
    """Read a journal from the checkpoint of version `checkpoint` on, cut a torn tail off the file, and prune it.

    If the record of a batch's group is damaged, the replay ends there: this batch and later ones are sampled again.
    """
    if not path.is_file():
        return Past({}, [], [], [])
    with path.open("rb") as file:
        index = _index(file)
        taken = {key for update, batch in index.batches.items() if update < checkpoint for key in batch.keys}
        kept = {key: place for key, place in index.groups.items() if key not in taken}
        groups = {key: _graded(decode(read_at(file, place)[HEADER.size :])) for key, place in kept.items()}
        if len(kept) < len(index.groups) and all(hole.torn for hole in index.holes):
            _prune(path, file, [*kept.values(), *index.others])
        elif torn := [hole for hole in index.holes if hole.torn]:
            os.truncate(path, torn[0].offset)
    notes = [f"{path}: {hole}" + ("; cut off" if hole.torn else "; skipped") for hole in index.holes]
    return Past(groups, _replayable(index.batches, groups, checkpoint, notes), index.dropped, notes)


@dataclass(frozen=True)
class Index:
    """What is where in a journal: groups that were not dropped, the batches that count, and the places of all other records."""

    groups: dict[Key, Place]
    batches: dict[int, TakenBatch]
    dropped: list[int]
    others: list[Place]
    holes: list[Hole]


def _index(file: BinaryIO) -> Index:
    index = Index({}, {}, [], [], [])
    for found in walk(file):
        if isinstance(found, Hole):
            index.holes.append(found)
            continue
        place, record = found
        if record["kind"] == "group":
            index.groups[Key(*record["key"])] = place
            continue
        index.others.append(place)
        match record["kind"]:
            case "batch":
                index.batches[record["update"]] = TakenBatch(record["update"], tuple(Key(*key) for key in record["keys"]))
            case "drop":
                index.groups.pop(Key(record["ordinal"], record["attempt"]), None)
                index.dropped.extend([record["ordinal"]] if record["final"] else [])
            case "resume":
                for update in [u for u in index.batches if u >= record["update"]]:
                    del index.batches[update]
    return index


def _prune(path: Path, file: BinaryIO, places: list[Place]) -> None:
    """Write the journal again with the records at `places` alone, in their order. A crash leaves the old file or the new one."""
    new = path.with_suffix(".pruned")
    with new.open("wb") as target:
        for place in sorted(places, key=lambda p: p.offset):
            target.write(read_at(file, place))
        target.flush()
        os.fsync(target.fileno())
    new.replace(path)


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
                "finish": FinishReason(r["finish"]),
                "sampling": Sampling(r["sampling"]),
                "prompt_ids": tuple(r["prompt_ids"]),
                "completion_ids": tuple(r["completion_ids"]),
                "logprobs": tuple(r["logprobs"]),
            }
        )
        for r in record["rollouts"]
    ]
    audits = [Audit(**{**a, "status": Status(a["status"])}) for a in record["audits"]]
    rewards = [Reward(rollout.id, value) for rollout, value in zip(rollouts, record["rewards"], strict=True)]
    return Graded(Key(*record["key"]), rollouts, rewards, audits)
