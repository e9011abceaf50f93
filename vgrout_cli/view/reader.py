"""Run directories as the page reads them: found, followed while they grow, filtered.

Invariant: nothing is ever written; a file that grows is read from where the last read ended, and one that shrank (a resumed
run) is read anew. Token ids and log-probabilities are not kept, so that 50,000 rollouts fit in memory.
"""

import json
import math
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from vgrout.files import read_as
from vgrout.metric_names import current
from vgrout.rows import Row
from vgrout.run_directory import A_RUN, RunDir

RUNNING_S = 120.0  # a run whose metrics grew within this many seconds counts as running
PREVIEW = 160
BINS = 40
HEAVY_FIELDS = ("prompt_ids", "completion_ids", "logprobs")


@dataclass
class Follower:
    """The records of a JSON Lines file that may still grow."""

    path: Path
    change: Callable[[Row], Row] | None = None  # of each record as it is read
    needs: tuple[str, ...] = ()  # a record without one of these is left out
    records: list[Row] = field(default_factory=list)
    offset: int = 0
    generation: int = 0  # counts how often the file was read anew

    def refresh(self) -> list[Row]:
        """Read what was added; returns the new records. A torn last line waits for its end."""
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            return []
        if size < self.offset:
            self.records, self.offset = [], 0
            self.generation += 1
        if size == self.offset:
            return []
        with self.path.open("rb") as file:
            file.seek(self.offset)
            chunk = file.read(size - self.offset)
        whole = chunk[: chunk.rfind(b"\n") + 1]
        self.offset += len(whole)
        parsed = (record for line in whole.splitlines() if (record := _parsed(line)) is not None)
        fresh = [record for record in parsed if all(record.get(name) is not None for name in self.needs)]
        fresh = [self.change(record) for record in fresh] if self.change else fresh
        self.records += fresh
        return fresh


def _parsed(line: bytes) -> Row | None:
    try:
        record = json.loads(line)
    except ValueError:  # a line torn by a crash, in the middle of a file that went on
        return None
    return record if isinstance(record, dict) else None


@dataclass(frozen=True)
class Query:
    """Which rollouts are asked for; an empty field filters nothing."""

    update: int | None = None
    mode: str = ""
    label: str = ""
    outcome: str = ""  # hack, solve or neither
    min_score: float = -math.inf
    max_score: float = math.inf
    text: str = ""
    offset: int = 0
    limit: int = 50


class RunView:
    """One run directory: `metrics` are read at once, rollouts when they are first asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.about: Row = RunDir.open(path).about()
        with read_as(path / "run.json", A_RUN):
            self._asked = {"arm": self.about["config"]["arm"], "seed": self.about["config"]["seed"]}
            self._planned = int(self.about["config"]["train"]["updates"])
        self.metrics = Follower(path / "metrics.jsonl", current, ("update",))
        self._rollouts = Follower(path / "rollouts.jsonl", None, ("update", "id", "text"))
        self._audits = Follower(path / "audits.jsonl", None, ("update", "rollout_id"))
        self._audit_of: dict[tuple[int, str], Row] = {}
        self._rows: list[Row] = []
        self._generation = 0
        self._lock = threading.Lock()  # requests are answered by a pool of threads

    def summary(self) -> Row:
        """Name, arm, seed, progress and state."""
        with self._lock:
            self.metrics.refresh()
        planned, rows = self._planned, self.metrics.records
        last = rows[-1] if rows else {}
        return {
            "name": self.path.name,
            **self._asked,
            "updates": len(rows),
            "planned": planned,
            "state": self._state(len(rows), planned),
            "hack": last.get("rate/hack"),
            "solve": last.get("rate/solve"),
        }

    def _state(self, done: int, planned: int) -> str:
        if (self.path / "train.safetensors").exists() or (planned and done >= planned):
            return "finished"
        try:
            age = time.time() - (self.path / "metrics.jsonl").stat().st_mtime
        except FileNotFoundError:
            return "stopped"
        return "running" if age < RUNNING_S else "stopped"

    def metrics_since(self, since: int, generation: int) -> Row:
        """Rows of metrics.jsonl from number `since` on; all of them where the file was read anew since `generation`."""
        with self._lock:
            self.metrics.refresh()
            start = since if generation == self.metrics.generation else 0
            return {"generation": self.metrics.generation, "start": start, "rows": self.metrics.records[start:]}

    def rows(self) -> list[Row]:
        """All rollouts, each with what the audit says of it."""
        with self._lock:
            self.metrics.refresh()
            self._audits.refresh()
            fresh = self._rollouts.refresh()
            if self._generation != self._rollouts.generation:
                self._generation, self._rows = self._rollouts.generation, []
                self._audit_of = {}
            for audit in self._audits.records:
                self._audit_of[audit["update"], audit["rollout_id"]] = audit
            self._audits.records = []
            self._rollouts.records = []
            self._rows += [{k: v for k, v in row.items() if k not in HEAVY_FIELDS} for row in fresh]
            for row in self._rows:
                if "outcome" not in row and (audit := self._audit_of.get((row["update"], row["id"]))) is not None:
                    row["audit"], row["outcome"] = audit, outcome(audit)
            return self._rows

    def search(self, query: Query) -> Row:
        """How many rollouts a query finds, and one page of them without their long texts."""
        found = [row for row in self.rows() if matches(row, query)]
        page = found[query.offset : query.offset + query.limit]
        short = [{**{k: v for k, v in row.items() if k not in ("prompt", "text", "audit")}, "preview": row["text"][:PREVIEW]}
                 for row in page]  # fmt: skip
        return {"total": len(found), "rows": short}

    def rollout(self, update: int, rollout_id: str) -> Row | None:
        """One rollout with its texts."""
        return next((row for row in self.rows() if row["id"] == rollout_id and row["update"] == update), None)

    def scores(self) -> Row:
        """Histograms of the score, update by update, of rollouts that hack and of the others, with the band's edges."""
        rows = [row for row in self.rows() if isinstance(row.get("score"), int | float) and math.isfinite(row["score"])]
        if not rows:
            return {"edges": [], "updates": []}
        low, high = min(row["score"] for row in rows), max(row["score"] for row in rows)
        width = (high - low) / BINS or 1.0
        table: dict[int, dict[str, list[int]]] = {}
        for row in rows:
            counts = table.setdefault(row["update"], {"hack": [0] * BINS, "other": [0] * BINS})
            side = "hack" if row.get("outcome") == "hack" else "other"
            counts[side][min(int((row["score"] - low) / width), BINS - 1)] += 1
        bands = {row.get("update"): (row.get("gate/band_lower"), row.get("gate/band_upper")) for row in self.metrics.records}
        updates = [{"update": u, "band": bands.get(u), **counts} for u, counts in sorted(table.items())]
        return {"edges": [low + width * i for i in range(BINS + 1)], "updates": updates}


def outcome(audit: Row) -> str:
    """`solve` where the program is correct, `hack` where only the loophole paid, else `neither`."""
    return "solve" if audit.get("correct") else "hack" if audit.get("exploited") else "neither"


def matches(row: Row, query: Query) -> bool:
    """Whether a rollout is asked for."""
    if query.update is not None and row["update"] != query.update:
        return False
    for name in ("mode", "label", "outcome"):
        wanted = getattr(query, name)
        if wanted and row.get(name) != wanted:
            return False
    if query.min_score > -math.inf or query.max_score < math.inf:
        score = row.get("score")
        if not isinstance(score, int | float) or not query.min_score <= score <= query.max_score:
            return False
    return not query.text or query.text in row["text"] or query.text in row.get("prompt", "")


def find_runs(paths: Iterable[Path]) -> list[Path]:
    """Run directories among `paths` and up to two folders below each, in the order given, then by name."""
    found: list[Path] = []
    for path in paths:
        near = [path, *sorted(path.glob("*")), *sorted(path.glob("*/*"))] if path.is_dir() else []
        found += [folder for folder in near if (folder / "run.json").is_file()]
    return list(dict.fromkeys(found))
