"""The run directory: everything that a run was and did, readable without this project.

    run.json              schema version, resolved config, seeds, package versions, git commit, digests, partition
    metrics.jsonl         one line per update
    rollouts.jsonl        prompt, completion, tokens, reward, score, label, advantage, version of every rollout
                          (`prompt_ids`: in the first rollout of a group; `logprobs`: to six decimals)
    audits.jsonl          what is really true of every rollout; written by the driver, never read by the learner
    checkpoints/00010/    train.safetensors, state.json (settled groups, digests of the others), optimizer.safetensors
    journal.bin           every graded group and every batch taken, as it happened (actors/journal/format.py)
    fleet.jsonl           which actor died when, and what was done
    train.safetensors     the adapter as trained, both blocks
    deploy/               the deploy export, a standard PEFT folder
    per_mode_deploy.json  the evaluation on the test split

Invariant: run.json is written whole before the first update; a JSON Lines file can end in a torn line only after a crash,
and `truncate` removes it.
"""

import dataclasses
import json
import time
from collections.abc import Iterable
from pathlib import Path

from vgrout.config import Config, from_dict
from vgrout.errors import UserError
from vgrout.files import file_sha256, read_jsonl, sha256, to_json, write_json, write_whole
from vgrout.provenance import commit, machine, versions
from vgrout.rows import Row

SCHEMA = 1
LOGS = ("metrics.jsonl", "rollouts.jsonl", "audits.jsonl")


class RunDir:
    """One run's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path | None, config: Config, facts: Row) -> "RunDir":
        """Make a new run directory (by default `out/runs/<time>_<preset>_<arm>_seed<N>`) and write run.json.

        Raises UserError where `path` already holds a run.
        """
        name = f"{time.strftime('%Y%m%dT%H%M%S')}_{config.preset}_{config.arm}_seed{config.seed}"
        run = cls(path or Path("out/runs") / name)
        if (run.path / "run.json").exists():
            raise UserError(str(run.path), "an existing run", "a new folder, or --resume to go on with it")
        about = {
            "schema": SCHEMA,
            "config": config.to_dict(),
            "versions": versions(),
            "commit": commit(),
            "machine": machine(),
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            **facts,
        }
        write_json(run.path / "run.json", about)
        for log in LOGS:
            write_whole(run.path / log, "")
        return run

    @classmethod
    def open(cls, path: Path) -> "RunDir":
        """Open an existing run directory. Raises UserError where run.json is missing or of another schema."""
        run = cls(path)
        found = run.about().get("schema")
        if found != SCHEMA:
            raise UserError(f"{path / 'run.json'}: schema", repr(found), f"schema {SCHEMA}")
        return run

    def about(self) -> Row:
        """run.json. Raises UserError where it is missing or no JSON."""
        path = self.path / "run.json"
        if not path.is_file():
            raise UserError(str(path), "no such file", "a run directory made by `vgrout train`")
        try:
            return json.loads(path.read_text())
        except json.JSONDecodeError as error:
            raise UserError(str(path), f"invalid JSON ({error})", "a whole run.json") from None

    def config(self) -> Config:
        """The run's resolved configuration."""
        return from_dict(self.about()["config"], str(self.path / "run.json"))

    def append(self, log: str, records: Iterable[object]) -> None:
        """Append records (dataclasses or dicts) to a JSON Lines file, in one write."""
        plain = (dataclasses.asdict(r) if dataclasses.is_dataclass(r) else r for r in records)  # type: ignore[call-overload]
        lines = [to_json(record, separators=(",", ":")) for record in plain]
        with (self.path / log).open("a") as file:
            file.write("".join(line + "\n" for line in lines))

    def read(self, log: str) -> list[Row]:
        """All records of a JSON Lines file."""
        return [record for _, record in read_jsonl(self.path / log)]

    def truncate(self, version: int) -> None:
        """Forget what was logged of updates from `version` on, torn last lines included (they will be done again)."""
        for log in LOGS:
            kept = []
            for line in (self.path / log).read_text().splitlines(keepends=True):
                try:
                    record = json.loads(line)
                except json.JSONDecodeError:
                    break
                if record["update"] < version and line.endswith("\n"):
                    kept.append(line)
            write_whole(self.path / log, "".join(kept))

    def checkpoint(self, version: int) -> Path:
        """Folder of the checkpoint after `version` updates."""
        return self.path / "checkpoints" / f"{version:05d}"

    def write_checkpoint(self, version: int, adapter: bytes, optimizer: bytes, settled: Row) -> None:
        """Write a checkpoint, whole: the optimizer file comes last and marks it. `settled` says which groups are done with.

        No state of a random generator is in it: every choice is drawn from a stream named by seed and ordinal.
        """
        folder = self.checkpoint(version)
        write_whole(folder / "train.safetensors", adapter)
        digests = {"train.safetensors": sha256(adapter), "optimizer.safetensors": sha256(optimizer)}
        write_json(folder / "state.json", {"version": version, **settled, "sha256": digests})
        write_whole(folder / "optimizer.safetensors", optimizer)

    def read_checkpoint(self, version: int) -> tuple[bytes, bytes]:
        """The two files of a checkpoint as the learner's `restore` takes them: (adapter, optimizer)."""
        folder = self.checkpoint(version)
        return (folder / "train.safetensors").read_bytes(), (folder / "optimizer.safetensors").read_bytes()

    def newest_whole(self) -> tuple[int, Row, list[str]]:
        """(version, state.json, what is wrong with newer ones) of the newest checkpoint whose bytes are those that were written.

        Raises UserError where there is none. Checkpoints of older runs have no state.json: their state is empty.
        """
        damaged: list[str] = []
        for version in reversed(self.checkpoints()):
            path = self.checkpoint(version) / "state.json"
            try:
                state = json.loads(path.read_text()) if path.is_file() else {}
                wrong = [name for name, digest in state.get("sha256", {}).items() if file_sha256(path.parent / name) != digest]
            except (OSError, ValueError) as error:
                state, wrong = {}, [f"state.json ({error})"]
            if not wrong:
                return version, state, damaged
            damaged.append(f"{path.parent}: damaged {', '.join(wrong)}; going on from an older checkpoint")
        found = "; ".join(damaged) or "no whole checkpoint"
        raise UserError(str(self.path / "checkpoints"), found, "at least one whole checkpoint, to go on from")

    def checkpoints(self) -> list[int]:
        """Versions of all whole checkpoints, ascending. The optimizer file is written last and marks a whole one."""
        return sorted(int(p.parent.name) for p in self.path.glob("checkpoints/*/optimizer.safetensors"))

    def evaluation(self, version: int) -> Row | None:
        """The test-split evaluation of a checkpoint, where one was made."""
        for path in (self.path / "per_mode_deploy.json", self.path / f"eval/test_{version:05d}.json"):
            if path.is_file():
                record = json.loads(path.read_text())
                if record["update"] == version and record["split"] == "test":
                    return record
        return None
