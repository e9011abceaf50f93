"""The run directory: everything that a run was and did, readable without this project.

    run.json              schema version, resolved config, seeds, package versions, git commit, digests, partition
    metrics.jsonl         one line per update
    rollouts.jsonl        prompt, completion, tokens, reward, score, label, advantage, version of every rollout
                          (`prompt`, `prompt_ids`: in the first rollout of a group; `logprobs`: to six decimals)
    audits.jsonl          what is really true of every rollout; written by the driver, never read by the learner
    checkpoints/00010/    train.safetensors, state.json (settled groups, digests of the others), optimizer.safetensors
    journal.bin           every graded group and every batch taken, as it happened (actors/journal/format.py)
    timeline.jsonl        who worked when, update by update; trace.json is that as a Chrome trace (`vgrout train --trace`)
    fleet.jsonl           which actor died when, and what was done
    train.safetensors     the adapter as trained, both blocks
    deploy/               the deploy export, a standard PEFT folder
    per_mode_deploy.json  the evaluation on the test split
    quarantine_sweep.json what `vgrout quarantine-sweep` found
    gate_null.json        what `vgrout gate-null` found

Invariant: run.json is written whole before the first update; a JSON Lines file can end in a torn line only after a crash,
and `truncate` removes it.
"""

import json
import secrets
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from vgrout import metric_names
from vgrout.config import Config, from_dict
from vgrout.errors import UserError
from vgrout.files import file_sha256, json_line, read_json, read_jsonl, sha256, write_json, write_whole
from vgrout.group_prompts import GroupPrompts
from vgrout.provenance import commit, machine, versions
from vgrout.rates import EVALUATION, evaluation
from vgrout.rows import Row
from vgrout.run_lock import RunLock
from vgrout.signals import RunStopped

SCHEMA = 1
LOGS = ("metrics.jsonl", "rollouts.jsonl", "audits.jsonl")
A_RUN = "a run directory made by `vgrout train`"
KINDS: dict[str, type] = {  # of what other commands read in run.json
    "config": dict, "digests": dict, "base": dict, "partition": dict, "versions": dict, "dropped": dict, "validation_ids": list,
    "canary": list, "accepted_changes": list, "resumed_with": list, "commit": str, "started": str, "template_date": str,
    "order_digest": str, "initial_adapter_digest": str,
}  # fmt: skip


class RunDir:
    """One run's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: RunLock | None = None
        self._made: list[Path] = []
        self.listeners: list[Callable[[Row], object]] = []  # each is given every line of metrics that is recorded

    @classmethod
    def create(cls, path: Path | None, config: Config, facts: Row) -> "RunDir":
        """Claim a folder, begin a run in it and give it back: a whole run directory that nobody writes."""
        run = cls.claim(path, config)
        try:
            run.begin(config, facts)
        finally:
            run.release()
        return run

    @classmethod
    def claim(cls, path: Path | None, config: Config) -> "RunDir":
        """Make the folder of a new run and own it; the default is `out/runs/<time>_<preset>_<arm>_seed<N>_<random>`.

        A run that ended before its first checkpoint may be begun again in its folder. Raises UserError where `path` holds
        a run with checkpoints, belongs to another process, or is no folder.
        """
        if path is None:
            name = f"{time.strftime('%Y%m%dT%H%M%S')}_{config.preset}_{config.arm}_seed{config.seed}_{secrets.token_hex(3)}"
            path = Path("out/runs") / name
        run = cls(path)
        run._check_new()
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
        run._made = missing
        try:
            run.own()
            run._check_new()  # another process may have made and left a run since the first look
        except UserError:
            run.release()
            raise
        return run

    def _check_new(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise UserError(str(self.path), "a file", "a folder for the run")
        if (self.path / "run.json").exists() and (self.checkpoints() or (self.path / "train.safetensors").exists()):
            raise UserError(str(self.path), "an existing run", "a new folder, or --resume to go on with it")

    def own(self) -> None:
        """Take the folder for this process. Raises UserError where a living process has it."""
        self._lock = RunLock(self.path)

    def release(self) -> None:
        """Give the folder back; where no run was begun in it, remove the folders that `claim` made."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        for folder in self._made if not (self.path / "run.json").exists() else []:
            try:
                folder.rmdir()
            except OSError:  # something else is in it
                break
        self._made = []

    def _check_owner(self) -> None:
        if self._lock is not None and not self._lock.is_mine():
            raise RunStopped(f"another process took over {self.path} while this one stood still")

    def begin(self, config: Config, facts: Row) -> None:
        """Write run.json and empty logs: from now on the folder holds a run."""
        run = self
        for old in ("journal.bin", "fleet.jsonl", "timeline.jsonl"):  # of a run that ended before its first checkpoint
            (self.path / old).unlink(missing_ok=True)
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

    @classmethod
    def open(cls, path: Path) -> "RunDir":
        """Open an existing run directory. Raises UserError where run.json is missing or of another schema."""
        run = cls(path)
        found = run.about().get("schema")
        if found != SCHEMA:
            raise UserError(f"{path / 'run.json'}: schema", repr(found), f"schema {SCHEMA}")
        return run

    def about(self) -> Row:
        """run.json. Raises UserError where it is missing, no JSON, or has a field of another kind."""
        path = self.path / "run.json"
        about = read_json(path, A_RUN)
        if not isinstance(about, dict) or "config" not in about:
            raise UserError(f"{path}: config", "nothing", "a run.json with the run's configuration")
        for name, kind in KINDS.items():
            if name in about and not isinstance(about[name], kind):
                expected = {dict: "a table", list: "a list", str: "text"}[kind]
                raise UserError(f"{path}: {name}", f"{about[name]!r:.60}", expected)
        return about

    def note(self, key: str, records: list[Row]) -> None:
        """Append records to a list in run.json."""
        about = self.about()
        self.rewrite({**about, key: [*about.get(key, []), *records]})

    def rewrite(self, about: Row) -> None:
        """Write run.json anew, whole."""
        write_json(self.path / "run.json", about)

    def config(self) -> Config:
        """The run's resolved configuration. Runs of before `data.partition_seed` drew the partition from their own seed."""
        table = self.about()["config"]
        if isinstance(table, dict) and isinstance(table.get("data"), dict):
            table = {**table, "data": {"partition_seed": table.get("seed", 0), **table["data"]}}
        return from_dict(table, str(self.path / "run.json"))

    def append(self, log: str, records: Iterable[object]) -> None:
        """Append records (dataclasses or dicts) to a JSON Lines file, in one write."""
        self._check_owner()
        with (self.path / log).open("ab") as file:
            file.write(b"".join(json_line(record) for record in records))

    def read(self, log: str) -> list[Row]:
        """All records of a JSON Lines file; rollouts each with its prompt, metrics of older runs under today's names."""
        rows = [record for _, record in read_jsonl(self.path / log, missing=A_RUN, ours=True)]
        if log == "rollouts.jsonl":
            prompts = GroupPrompts()
            rows = [prompts.fill(row) for row in rows]
        return [metric_names.current(row) for row in rows] if log == "metrics.jsonl" else rows

    def metrics(self) -> list[Row]:
        """The records of metrics.jsonl. Raises UserError where an update is there twice, missing or out of order."""
        rows = []
        for number, record in read_jsonl(self.path / "metrics.jsonl", missing=A_RUN, ours=True):
            if record.get("update") != len(rows):
                where = f"{self.path / 'metrics.jsonl'}:{number}, field update"
                expected = f"update {len(rows)}: one run's updates, each once and in order"
                raise UserError(where, repr(record.get("update")), expected)
            rows.append(metric_names.current(record))
        return rows

    def check_resumable(self) -> None:
        """Raise UserError for what a resumed run would fail on: no whole checkpoint, a log that is missing or damaged anywhere
        but in its last line (which a crash may have torn), a file where the export goes."""
        self.newest_whole()
        for log in LOGS:
            path, updates = self.path / log, []
            last = path.read_bytes().count(b"\n") + 1 if path.is_file() else 0
            try:
                for number, record in read_jsonl(path, missing="the log of a run, to go on with", ours=True):
                    update = record.get("update")
                    expected = (len(updates),) if log == "metrics.jsonl" else (update,) if isinstance(update, int) else ()
                    if update not in expected:
                        raise UserError(f"{path}:{number}, field update", repr(update), f"update {len(updates)}, each once")
                    updates.append(update)
            except UserError as damage:
                if damage.where != f"{path}:{last}":
                    raise
        if (self.path / "deploy").exists() and not (self.path / "deploy").is_dir():
            raise UserError(str(self.path / "deploy"), "a file", "the folder of the deploy export, or nothing")

    def truncate(self, version: int) -> None:
        """Forget what was logged of updates from `version` on, torn last lines included (they will be done again)."""
        for log in LOGS:
            kept = []
            for line in (self.path / log).read_bytes().splitlines(keepends=True):
                try:
                    record = json.loads(line)
                except ValueError:
                    break
                if record["update"] < version and line.endswith(b"\n"):
                    kept.append(line)
            write_whole(self.path / log, b"".join(kept))

    def checkpoint(self, version: int) -> Path:
        """Folder of the checkpoint after `version` updates."""
        return self.path / "checkpoints" / f"{version:05d}"

    def write_checkpoint(self, version: int, adapter: bytes, optimizer: bytes, settled: Row) -> None:
        """Write a checkpoint, whole: the optimizer file comes last and marks it. `settled` says which groups are done with.

        No state of a random generator is in it: every choice is drawn from a stream named by seed and ordinal.
        """
        self._check_owner()
        folder = self.checkpoint(version)
        write_whole(folder / "train.safetensors", adapter)
        digests = {"train.safetensors": sha256(adapter), "optimizer.safetensors": sha256(optimizer)}
        write_json(folder / "state.json", {"version": version, **settled, "sha256": digests})
        write_whole(folder / "optimizer.safetensors", optimizer)

    def adapter(self, version: int) -> bytes:
        """train.safetensors of a checkpoint. Raises UserError where its bytes are not those that were written."""
        path = self.checkpoint(version) / "train.safetensors"
        if not path.is_file():
            raise UserError(str(path), "no such file", "a checkpoint's adapter")
        data = path.read_bytes()
        try:
            state = json.loads((path.parent / "state.json").read_bytes())
            digest, own = state["sha256"]["train.safetensors"], state["version"]
        except FileNotFoundError:  # of an older version
            return data
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(str(path.parent / "state.json"), f"a damaged file ({error})", "a whole checkpoint") from None
        if own != version or sha256(data) != digest:
            found = f"update {own}" if own != version else f"SHA-256 {sha256(data)[:12]}"
            raise UserError(str(path), found, f"the bytes of update {version}, {digest[:12]} in state.json")
        return data

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
                if state.get("version", version) != version:
                    wrong = [f"state.json (of update {state['version']})"]
            except (OSError, ValueError, AttributeError) as error:
                state, wrong = {}, [f"state.json ({error})"]
            if not wrong:
                return version, state, damaged
            damaged.append(f"{path.parent}: damaged {', '.join(wrong)}; going on from an older checkpoint")
        found = "; ".join(damaged) or "no whole checkpoint"
        raise UserError(str(self.path / "checkpoints"), found, "at least one whole checkpoint, to go on from")

    def is_finished(self, updates: int, curve: bool) -> bool:
        """Whether the run is complete: trained for so many updates, exported, and scored if that was asked for."""
        trained = updates in self.checkpoints() and (self.path / "deploy" / "vgrout.json").is_file()
        return trained and (not curve or (self.path / "eval_curve.jsonl").is_file())

    def checkpoints(self) -> list[int]:
        """Versions of all whole checkpoints, ascending. The optimizer file is written last and marks a whole one."""
        found = (p.parent.name for p in self.path.glob("checkpoints/*/optimizer.safetensors"))
        return sorted(int(name) for name in found if name.isascii() and name.isdigit())  # not `00006.bak`

    def evaluation(self, version: int) -> Row | None:
        """The test-split evaluation of a checkpoint, where one was made."""
        for path in (self.path / "per_mode_deploy.json", self.path / f"eval/test_{version:05d}.json"):
            if path.is_file():
                record = evaluation(path, read_json(path, EVALUATION))
                if record["update"] == version and record["split"] == "test":
                    return record
        return None
