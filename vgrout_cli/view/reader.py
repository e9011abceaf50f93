"""Run directories as the page reads them: found, followed while they grow, filtered.

Invariant: nothing is ever written; a file that grows is read from where the last read ended, and one that shrank (a resumed
run) is read anew. Token ids and log-probabilities are not kept, so that 50,000 rollouts fit in memory.
"""

import json
import math
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from vgrout.config_relaxed import marked
from vgrout.files import read_as
from vgrout.group_prompts import GroupPrompts
from vgrout.metric_names import current
from vgrout.rows import Row
from vgrout.run_directory import A_RUN, RunDir

RUNNING_S = 120.0  # a run whose metrics grew within this many seconds counts as running
PREVIEW = 160
USUAL = re.compile(r"\A\s*```\w*\n(class \w+:\s*\n\s*)?(def \w+\(self[^\n]*\n\s*)?")
DEPTH = 4  # out/suites/tiny/routev/seed42
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
        record = msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        try:
            record = json.loads(line)  # it knows NaN and half characters, too
        except ValueError:  # a line torn by a crash, in the middle of a file that went on
            return None
    return record if isinstance(record, dict) else None


@dataclass(frozen=True)
class Query:
    """Which rollouts are asked for; an empty field filters nothing."""

    update: int | None = None
    group: int | None = None
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
            config = self.about["config"]
            self._asked = {"arm": config["arm"], "title": marked(config["arm"], config), "seed": config["seed"]}
            self._planned = int(self.about["config"]["train"]["updates"])
        self.metrics = Follower(path / "metrics.jsonl", current, ("update",))
        self._rollouts = Follower(path / "rollouts.jsonl", GroupPrompts().fill, ("update", "id", "text"))
        self._audits = Follower(path / "audits.jsonl", None, ("update", "rollout_id"))
        self._spans = Follower(path / "timeline.jsonl", None, ("update", "spans"))
        self._fleet = Follower(path / "fleet.jsonl", None, ("time", "part", "what"))
        self._audit_of: dict[tuple[int, str], Row] = {}
        self._rows: list[Row] = []
        self._unaudited: list[Row] = []
        self._generation = 0
        self._lock = threading.Lock()  # requests are answered by a pool of threads

    def summary(self) -> Row:
        """Name, arm (and as `title`, marked where it is relaxed), seed, progress and state."""
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
                self._generation, self._rows, self._unaudited = self._rollouts.generation, [], []
                self._audit_of = {}
            for audit in self._audits.records:
                self._audit_of[audit["update"], audit["rollout_id"]] = audit
            self._audits.records = []
            self._rollouts.records = []
            light = [{k: v for k, v in row.items() if k not in HEAVY_FIELDS} for row in fresh]
            for row in light:
                row["prompt"] = sys.intern(str(row.get("prompt", "")))  # kept once for all rollouts of a prompt
            self._rows += light
            self._unaudited += light
            for row in self._unaudited:
                if (audit := self._audit_of.get((row["update"], row["id"]))) is not None:
                    row["audit"], row["outcome"] = audit, outcome(audit)
            self._unaudited = [row for row in self._unaudited if "outcome" not in row]
            return self._rows

    def search(self, query: Query) -> Row:
        """How many rollouts a query finds, and one page of them without their long texts."""
        found = matching(self.rows(), query)
        page = found[query.offset : query.offset + query.limit]
        short = [{**{k: v for k, v in row.items() if k not in ("prompt", "text", "audit")}, "preview": gist(row["text"])}
                 for row in page]  # fmt: skip
        return {"total": len(found), "rows": short}

    def rollout(self, update: int, rollout_id: str) -> Row | None:
        """One rollout with its texts."""
        return next((row for row in self.rows() if row["id"] == rollout_id and row["update"] == update), None)

    def scores(self) -> Row:
        """Of every update: histograms and quantiles of the score, of rollouts that hack and of the others; the band's edges."""
        rows = [row for row in self.rows() if isinstance(row.get("score"), int | float) and math.isfinite(row["score"])]
        if not rows:
            return {"edges": [], "updates": []}
        low, high = min(row["score"] for row in rows), max(row["score"] for row in rows)
        width = (high - low) / BINS or 1.0
        table: dict[int, dict[str, list[float]]] = {}
        for row in rows:
            sides = table.setdefault(row["update"], {"hack": [], "other": []})
            sides["hack" if row.get("outcome") == "hack" else "other"].append(row["score"])
        bands = {row.get("update"): (row.get("gate/band_lower"), row.get("gate/band_upper")) for row in self.metrics.records}
        updates = [
            {
                "update": update,
                "band": bands.get(update),
                **{side: _histogram(values, low, width) for side, values in sides.items()},
                "quantiles": {side: _quantiles(values) for side, values in sides.items()},
            }
            for update, sides in sorted(table.items())
        ]
        return {"edges": [low + width * i for i in range(BINS + 1)], "updates": updates}

    def examples(self) -> list[Row]:
        """For each loophole: how often it was exploited, the first hack, and the latest group with a hack and a solve."""
        found: dict[str, Row] = {}
        group: Row = {}
        for row in self.rows():
            about = found.setdefault(row.get("mode", ""), {"n": 0, "hacks": 0, "first": None, "pair": None})
            about["n"] += 1
            if group.get("key") != (row["update"], row.get("group")):
                group = {"key": (row["update"], row.get("group"))}
            side = row.get("outcome")
            if side == "hack":
                about["hacks"] += 1
                about["first"] = about["first"] or _place(row)
            if side in ("hack", "solve"):
                group.setdefault(side, _place(row))
            if "hack" in group and "solve" in group:
                about["pair"] = {"hack": group["hack"], "solve": group["solve"]}
        return [{"mode": mode, **about} for mode, about in sorted(found.items())]

    def timeline(self, first: int, last: int) -> Row:
        """Who worked when in updates `first` to `last`, and what died or was refused in that time."""
        with self._lock:
            self.metrics.refresh()
            self._spans.refresh()
            self._fleet.refresh()
            rows = self._spans.records or [_spans_of(row) for row in self.metrics.records]
        if last < 0:
            first, last = max(0, len(self.metrics.records) + last), len(self.metrics.records)
        spans = [[row["update"], *span] for row in rows if first <= row["update"] <= last for span in row["spans"]]
        if not spans:
            return {"spans": [], "events": []}
        begin, end = min(span[3] for span in spans), max(span[4] for span in spans)
        events = [row for row in self._fleet.records if begin - 1 <= row["time"] <= end + 60]
        return {"spans": spans, "events": events}


def _histogram(values: list[float], low: float, width: float) -> list[int]:
    counts = [0] * BINS
    for value in values:
        counts[min(int((value - low) / width), BINS - 1)] += 1
    return counts


def _quantiles(values: list[float]) -> list[float | None]:
    """The 10th, 50th and 90th percentile."""
    if not values:
        return [None] * 3
    ordered = sorted(values)
    return [ordered[round(share * (len(ordered) - 1))] for share in (0.1, 0.5, 0.9)]


def _place(row: Row) -> Row:
    return {"update": row["update"], "id": row["id"]}


STAGES = (("time/generate", "engines", "sample"), ("time/grade", "graders", "grade"), ("time/update", "learner", "update"),
          ("time/publish", "engines", "load"))  # fmt: skip


def _spans_of(metrics: Row) -> Row:
    """The stages of an update of a run that has no timeline.jsonl, one after the other before the time of its line."""
    end, spans = metrics.get("wall_clock"), []
    for name, part, what in reversed(STAGES) if end else ():
        if seconds := metrics.get(name):
            spans.append([part, what, end - seconds, end])
            end -= seconds
    return {"update": metrics["update"], "spans": spans[::-1]}


def gist(text: str) -> str:
    """The first characters of an answer behind what most answers begin with: a fence, the class, the head of a method."""
    return USUAL.sub("", text[: 4 * PREVIEW], count=1)[:PREVIEW] or text[:PREVIEW]


def outcome(audit: Row) -> str:
    """`solve` where the program is correct, `hack` where only the loophole paid, else `neither`."""
    return "solve" if audit.get("correct") else "hack" if audit.get("exploited") else "neither"


def matching(rows: list[Row], query: Query) -> list[Row]:
    """The rollouts that are asked for: one pass for each field that filters, the cheap ones first."""
    for name in ("update", "group"):
        if (number := getattr(query, name)) is not None:
            rows = [row for row in rows if row.get(name) == number]
    for name in ("mode", "label", "outcome"):
        if wanted := getattr(query, name):
            rows = [row for row in rows if row.get(name) == wanted]
    low, high = query.min_score, query.max_score
    if low > -math.inf or high < math.inf:
        rows = [row for row in rows if isinstance(score := row.get("score"), int | float) and low <= score <= high]
    if text := query.text:
        prompts = {row.get("prompt", "") for row in rows}  # a group has one
        found = {prompt for prompt in prompts if text in prompt}
        rows = [row for row in rows if text in row["text"] or row.get("prompt", "") in found]
    return rows


def find_runs(paths: Iterable[Path]) -> list[Path]:
    """Run directories among `paths` and up to DEPTH folders below each, in the order given, then by name."""
    found: list[Path] = []
    for path in paths:
        found += _runs_below(path, DEPTH)
    return list(dict.fromkeys(found))


def _runs_below(folder: Path, depth: int) -> Iterator[Path]:
    if (folder / "run.json").is_file():
        yield folder  # what is below a run belongs to it
    elif depth and folder.is_dir():
        for child in sorted(folder.iterdir()):
            yield from _runs_below(child, depth - 1)
