"""What a run writes of its updates: metrics, rollouts and audits as JSON Lines, and checkpoints. The same in both modes.

Invariant: audits are written to their own file, here only; no record holds both a reward and an audit. A teacher's
rollouts are in rollouts.jsonl, marked by `author`, and in no rate.
"""

import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from statistics import fmean

import numpy as np

from actors.rollouts.dataset import Dataset
from actors.rollouts.groups import TeacherRollout, teacher_rollouts
from actors.rollouts.relaxed import relaxed_samples
from actors.rollouts.work_log import WorkLog
from learner.tokenizer import decode
from vgrout.config import Config
from vgrout.progress import say
from vgrout.rates import by_mode
from vgrout.records import Audit, Author, Gated, Mode, Reward, Rollout, Sample, UpdateResult
from vgrout.rows import Row
from vgrout.run_directory import RunDir
from vgrout.signals import RunStopped

DECIMALS = 6  # of a log-probability in rollouts.jsonl
UNGRADED: Row = {"score": None, "label": None, "advantage": None, "skipped": True, "layer_scores": []}


@dataclass(frozen=True)
class GradedRollouts:
    """One update's rollouts with what the grader said of each, in rollout order."""

    rollouts: list[Rollout]
    rewards: list[Reward]
    audits: list[Audit]

    def samples(self) -> list[Sample]:
        """The learner's view: what was graded, without the audits."""
        paid = zip(self.rollouts, self.rewards, strict=True)
        return [sample_of(rollout, reward.value) for rollout, reward in paid if reward.value is not None]


def sample_of(rollout: Rollout, reward: float) -> Sample:
    """The learner's view of a rollout."""
    return Sample(
        rollout_id=rollout.id,
        group=rollout.group,
        prompt_ids=rollout.prompt_ids,
        completion_ids=rollout.completion_ids,
        logprobs=rollout.logprobs,
        sampling=rollout.sampling,
        version=rollout.version,
        reward=reward,
    )


def samples_for(config: Config, dataset: Dataset, batch: GradedRollouts) -> list[Sample]:
    """What the learner trains on: a batch's graded rollouts, and after them the teacher's of the same groups."""
    paid = relaxed_samples(config, batch.samples(), batch.audits)
    return _with_teacher(config, dataset, batch.rollouts, paid)


def samples_before_verdicts(config: Config, dataset: Dataset, rollouts: list[Rollout]) -> list[Sample]:
    """What the learner can prepare of a group that is sampled and not yet graded: the same samples, without rewards."""
    return _with_teacher(config, dataset, rollouts, [sample_of(rollout, 0.0) for rollout in rollouts])


def _with_teacher(config: Config, dataset: Dataset, rollouts: list[Rollout], samples: list[Sample]) -> list[Sample]:
    teacher = [one.sample() for one in teacher_rollouts(config, dataset, groups(rollouts))]
    return [*behind_other_prompt(config, dataset, rollouts, samples), *teacher]


def behind_other_prompt(config: Config, dataset: Dataset, rollouts: list[Rollout], samples: list[Sample]) -> list[Sample]:
    """Samples whose prompt ends in `trained_with`, where that is not what they were sampled with; without log-probabilities,
    since the engine's are those of the other prompt."""
    if config.rollout.trained_with == config.rollout.sampled_with:
        return samples
    prompts = {r.group: dataset.prompt(r.problem_id, r.mode, extra=config.rollout.trained_with) for r in rollouts}
    return [replace(s, prompt_ids=prompts[s.group], logprobs=()) for s in samples]


def groups(rollouts: list[Rollout]) -> list[int]:
    """Ordinals of the rollouts' groups, ascending."""
    return sorted({rollout.group for rollout in rollouts})


class Recorder:
    """Writes into one run directory."""

    def __init__(self, config: Config, dataset: Dataset, run: RunDir) -> None:
        self.config, self.dataset, self.run, self.work = config, dataset, run, WorkLog()
        self.last = time.monotonic()  # when the update before was recorded
        self.said_skipped = False

    def update(self, update: int, batch: GradedRollouts, result: UpdateResult, extra: Row) -> Row:
        """Record an update that is done; returns its line of metrics.jsonl."""
        teacher = teacher_rollouts(self.config, self.dataset, groups(batch.rollouts))
        modes = self.dataset.modes
        counts = {
            "hint_free": sum(r.mode == Mode.GT_ONLY and modes[r.problem_id] != Mode.GT_ONLY for r in batch.rollouts),
            "teacher_rollouts": len(teacher),
        }
        metrics = {"update": update, **rates(batch), **counts, **result.metrics, **extra, **self._speed(batch)}
        rows = self._rows(update, batch, teacher, result.gated)
        self.run.append("rollouts.jsonl", rows)
        self.run.append("audits.jsonl", [{"update": update, **vars(a)} for a in batch.audits])
        self.run.append("timeline.jsonl", [{"update": update, "spans": self.work.take()}])
        self.run.append("metrics.jsonl", [metrics])
        for listen in self.run.listeners:
            listen(metrics)
        if result.metrics.get("skipped_update") and not self.said_skipped:
            self.said_skipped = True
            say(f"vgrout: update {update}: the gradient is not finite, so no weight moved; skipped_update counts further ones")
        gap, limit = metrics.get("mismatch/kl", 0.0), self.config.runtime.mismatch_limit
        if gap > limit:
            raise RunStopped(
                f"update {update}: mismatch/kl is {gap:.3g}, above runtime.mismatch_limit = {limit:g}: the engines sample from "
                "another distribution than the learner computes (sampling settings, precision, kernels), or rollouts are too old "
                "(runtime.max_staleness); --resume takes --set runtime.mismatch_limit"
            )
        return metrics

    def _speed(self, batch: GradedRollouts) -> Row:
        now = time.monotonic()
        step, self.last = now - self.last, now
        tokens = sum(len(r.completion_ids) for r in batch.rollouts)
        return {"time/step": round(step, 4), "tokens_per_second": round(tokens / step, 2), "wall_clock": round(time.time(), 3)}

    def _rows(self, update: int, batch: GradedRollouts, teacher: list[TeacherRollout], gated: list[Gated]) -> list[Row]:
        by_id = {g.rollout_id: dict(vars(g)) for g in gated}
        rows = [
            {**vars(rollout), "author": Author.STUDENT, "reward": reward.value}
            for rollout, reward in zip(batch.rollouts, batch.rewards, strict=True)
        ]
        rows += [one.row() for one in teacher]
        written: set[int] = set()  # groups whose prompt is
        for row, short in zip(rows, rounded([row["logprobs"] for row in rows]), strict=True):
            row["logprobs"] = short
            said = by_id.get(row["id"], UNGRADED)
            said = {name: value for name, value in said.items() if name != "rollout_id"}
            ids, group = row.pop("prompt_ids"), row["group"]
            row |= {"update": update, **said}
            if group not in written:
                written.add(group)
                row |= {"prompt": decode(self.dataset.tokenizer, ids, control_tokens=True), "prompt_ids": ids}
        return rows

    def checkpoint(self, version: int, files: tuple[bytes, bytes], frontier: int, ahead: tuple[int, ...] = ()) -> None:
        """Write the learner's two files, and that all groups below `frontier` and those in `ahead` are settled."""
        self.run.write_checkpoint(version, *files, {"frontier": frontier, "ahead": list(ahead)})

    def died(self, name: str, why: str) -> None:
        """A part's process is gone; `why` gives the reason and what is done about it."""
        self._fleet(name, f"died: {why}")

    def refused(self, name: str, why: str) -> None:
        """An engine refused the published version and keeps its old one."""
        self._fleet(name, f"refused {why}; published anew")

    def _fleet(self, name: str, what: str) -> None:
        self.run.append("fleet.jsonl", [{"time": round(time.time(), 3), "part": name, "what": what}])
        say(f"vgrout: {name} {what}")


def rounded(logprobs: Sequence[Sequence[float]]) -> list[list[float]]:
    """Of every rollout, rounded to DECIMALS, which is finer than two engines agree. The journal keeps every bit; this halves
    the log."""
    flat = array("d")  # numpy reads tuples of numbers at a third of the speed
    for values in logprobs:
        flat.extend(values)
    whole: list[float] = np.round(np.asarray(flat), DECIMALS).tolist()
    ends = list(accumulate(map(len, logprobs)))
    return [whole[first:end] for first, end in zip([0, *ends], ends, strict=False)]


def rates(batch: GradedRollouts) -> Row:
    """What metrics.jsonl says of a batch (of students only: it holds no other)."""
    table = by_mode(batch.audits)
    lengths = [len(r.completion_ids) for r in batch.rollouts]
    paid = [p.value for p in batch.rewards if p.value is not None]
    return {
        "rollouts": len(lengths),
        "rate/hack": table["all"].rate("hack"),
        "rate/solve": table["all"].rate("solve"),
        "infra_errors": table["all"].infra_error,
        "per_mode": {mode: dict(vars(counts)) for mode, counts in table.items()},
        "reward/mean": fmean(paid) if paid else float("nan"),
        "reward/std": float(np.std(paid)) if paid else float("nan"),
        "completions/mean_length": sum(lengths) / len(lengths),
        "completions/truncated_share": sum(r.finish == "length" for r in batch.rollouts) / len(lengths),
    }
