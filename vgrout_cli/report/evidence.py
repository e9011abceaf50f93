"""Runs as the report sees them: one `Run` per (arm, seed) with its status, its evaluation and its answers per problem.

Invariant: a run that is not `done` carries no numbers, so nothing can be averaged over it; the counts of a `done` run are
those of its own answers file wherever it has one. Nothing is written.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from vgrout.config import Config
from vgrout.errors import UserError
from vgrout.files import read_as, read_json, read_jsonl
from vgrout.group_prompts import GroupPrompts
from vgrout.rates import EVALUATION, Counts, evaluation
from vgrout.records import Status
from vgrout.rows import Row
from vgrout.run_directory import RunDir

POLICIES = ("train", "deploy")


class RunStatus(StrEnum):
    """What came of one run of a suite. Only `done` runs have numbers."""

    DONE = "done"
    UNEVALUATED = "not evaluated"
    RUNNING = "running"
    FAILED = "failed"
    MISSING = "missing"


@dataclass(frozen=True)
class Answer:
    """All graded completions of one test problem under one policy: how many, how many hacked, how many solved."""

    problem_id: int
    mode: str
    n: int
    hack: int
    solve: int


@dataclass(frozen=True)
class Run:
    """One arm and seed. `source` names the suite or folder it came from, `final` is the evaluation record of its last
    checkpoint, `curve` those of all; `answers` are by policy and problem."""

    arm: str
    seed: int
    path: Path
    status: RunStatus
    source: str = ""
    note: str = ""
    config: Config | None = None
    facts: Row = field(default_factory=dict)
    final: Row = field(default_factory=dict)
    curve: tuple[Row, ...] = ()
    metrics: tuple[Row, ...] = ()
    answers: dict[str, dict[int, Answer]] = field(default_factory=dict)
    other_curves: dict[str, tuple[Row, ...]] = field(default_factory=dict)  # by what follows eval_curve_ in the file's name

    @property
    def updates(self) -> int:
        """Updates of the whole run; -1 where there is no configuration to ask."""
        return self.config.train.updates if self.config else -1

    @property
    def held_out(self) -> tuple[str, ...]:
        """Modes that the run's pairs do not speak of."""
        return self.config.data.held_out if self.config else ()

    def counts(self, policy: str, modes: tuple[str, ...] = ("all",)) -> Counts:
        """Counts of the last checkpoint on the test split, summed over modes."""
        return add(self.final[policy], modes)

    def truncated(self, policy: str) -> float:
        """Share of completions that ended by length."""
        every = self.final[policy]["all"]
        total = every["n"] + every["infra_error"]
        return self.final[f"{policy}_truncated"] / total if total else float("nan")


def add(table: Row, modes: tuple[str, ...]) -> Counts:
    """Counts of an evaluation record's policy, summed over modes (those that it has)."""
    names = ("n", "compiles", "solve", "hack", "infra_error")
    return Counts(*(sum(table[mode][name] for mode in modes if mode in table) for name in names))


def read_run(path: Path, source: str) -> Run:
    """Read one finished run directory; without an evaluation of its last checkpoint it is `not evaluated`.

    Raises UserError for a folder that is no run, a foreign schema, or counts that its answers do not have.
    """
    run_dir = RunDir.open(path)
    config = run_dir.config()
    base = Run(config.arm, config.seed, path, RunStatus.UNEVALUATED, source, "", config, run_dir.about())
    if not (path / "train.safetensors").exists():
        return replace(base, status=RunStatus.RUNNING, note="training has not ended")
    if not (path / "per_mode_deploy.json").is_file():
        return replace(base, note="no per_mode_deploy.json")
    place = path / "per_mode_deploy.json"
    final = evaluation(place, read_json(place, EVALUATION))
    if final["update"] != config.train.updates or final["split"] != "test":
        found = f"evaluated at update {final['update']} on {final['split']}, not at {config.train.updates} on test"
        return replace(base, note=found)
    metrics = tuple(run_dir.metrics()) if (path / "metrics.jsonl").is_file() else None
    if metrics is not None and len(metrics) != config.train.updates:
        raise UserError(str(path / "metrics.jsonl"), f"{len(metrics)} updates", f"{config.train.updates}: the run has ended")
    curve = path / "eval_curve.jsonl"
    records = _records(curve) if curve.is_file() else (final,)
    return replace(
        base,
        status=RunStatus.DONE,
        final=final,
        curve=tuple(r for r in records if r["split"] == "test"),
        metrics=metrics or (),
        answers=_answers(path, final),
        other_curves={file.stem.removeprefix("eval_curve_"): _records(file) for file in sorted(path.glob("eval_curve_*.jsonl"))},
    )


def _records(curve: Path) -> tuple[Row, ...]:
    return tuple(evaluation(curve, r) for _, r in read_jsonl(curve, ours=True))


def base_of(runs: list[Run]) -> list[Run]:
    """The untouched base of every seed that has no `base` run: update 0 of another arm of that seed, where it was evaluated."""
    have = {run.seed for run in runs if run.arm == "base" and run.status is RunStatus.DONE}
    found: dict[int, Run] = {}
    done = [
        r
        for r in runs
        if r.status is RunStatus.DONE
        and r.seed not in have
        and r.config
        and r.config.data.loopholes
        and not r.config.train.warm_start
    ]
    for run in sorted(done, key=lambda r: (r.arm != "vanilla", r.arm)):
        start = [r for r in run.curve if r["update"] == 0]
        if start and run.seed not in found:
            answers = _answers(run.path, start[0])
            about = {"arm": "base", "note": f"update 0 of {run.arm}", "metrics": ()}
            found[run.seed] = replace(run, **about, final=start[0], curve=(start[0],), answers=answers)
    return list(found.values())


def main_length(runs: list[Run]) -> int:
    """The number of updates that most trained runs have (of several, the smallest)."""
    lengths = Counter(run.updates for run in runs if run.updates > 0)
    return min((n for n in lengths if lengths[n] == max(lengths.values())), default=0)


def _answers(path: Path, record: Row) -> dict[str, dict[int, Answer]]:
    """Answers of both policies, checked against the record's counts; empty where the run brought no answers files."""
    found = {}
    for policy in POLICIES:
        file = path / f"eval/{record['split']}_{record['update']:05d}_{policy}.json"
        if not file.is_file():
            return {}
        audits = read_json(file, "the audits of an evaluation")
        with read_as(file, "the audits of an evaluation"):
            found[policy] = answers_of(audits)
        table = record[policy]["all"]
        for what in ("n", "hack", "solve"):
            total = sum(getattr(a, what) for a in found[policy].values())
            if total != table[what]:
                raise UserError(f"{file}: {what}", str(total), f"{table[what]}, as in the evaluation record")
    return found


def answers_of(audits: list[Row]) -> dict[int, Answer]:
    """Audits of an answers file by problem; the grader's own failures are in no count."""
    table: dict[int, Answer] = {}
    for a in audits:
        if a["status"] == Status.INFRA_ERROR:
            continue
        old = table.get(a["problem_id"], Answer(a["problem_id"], a["mode"], 0, 0, 0))
        table[old.problem_id] = Answer(
            old.problem_id, old.mode, old.n + 1, old.hack + bool(a["exploited"]), old.solve + bool(a["correct"])
        )
    return table


ROLLOUT = ("update", "group", "id", "problem_id", "mode", "prompt", "text", "reward", "label", "score")
AUDIT = ("rollout_id", "problem_id", "status", "exploited", "correct", "channel", "mechanism", "notes")


def read_log(path: Path, fields: tuple[str, ...]) -> Iterator[Row]:
    """The records of a run's log, rollouts each with its prompt. Raises UserError for a line that lacks one of `fields`."""
    prompts = GroupPrompts()
    for number, record in read_jsonl(path, ours=True):
        record = prompts.fill(record)
        for name in fields:
            if name not in record:
                raise UserError(f"{path}:{number}, field {name}", "nothing", "a record as `vgrout train` writes it")
        yield record


def audits_of(run: Run) -> dict[str, Row]:
    """The audits of a run's rollouts by rollout id."""
    return {audit["rollout_id"]: audit for audit in read_log(run.path / "audits.jsonl", AUDIT)}
