"""The driver in sync mode: sample, grade, update, publish, in turn; the reference for everything asynchronous.

Invariants: rewards go to the learner and audits to the audit log, by two roads that never meet; every choice is a pure
function of (seed, update), so a run that goes on from a checkpoint ends in the bytes of one that was never stopped.
"""

import dataclasses
import signal
import time
from dataclasses import dataclass
from typing import Any

from actors.parts import Parts, finish
from actors.teaching import demonstrations, shown
from actors.world import World
from vgrout.config import Config
from vgrout.files import write_whole
from vgrout.progress import Progress
from vgrout.rates import by_mode
from vgrout.records import Audit, Gated, GradeJob, Reward, Rollout, Sample, SampleRequest, Sampling
from vgrout.rundir import RunDir
from vgrout.seeds import stream


class Interrupted(Exception):
    """SIGINT or SIGTERM arrived; the run stopped after a whole update and can be resumed."""

    def __init__(self, signum: int) -> None:
        self.signum = signum
        super().__init__(signal.Signals(signum).name)


@dataclass(frozen=True)
class Batch:
    """One update's rollouts with what the grader said of each, in rollout order."""

    rollouts: list[Rollout]
    rewards: list[Reward]
    audits: list[Audit]


def requests_for(config: Config, world: World, ordinals: range) -> list[SampleRequest]:
    """Sample requests of the students of groups; the last `deploy_fraction` of them is written by the deployed block."""
    r, requests = config.rollout, []
    for ordinal in ordinals:
        problem_id, mode = shown(config, world, ordinal)
        students = r.samples - len(demonstrations(config, world, ordinal))
        deploy = round(students * r.deploy_fraction)
        seeds = tuple(stream(config.seed, "sample", ordinal, i) for i in range(students))
        for sampling, first, stop in ((Sampling.TRAIN, 0, students - deploy), (Sampling.DEPLOY, students - deploy, students)):
            if first < stop:
                requests.append(
                    SampleRequest(
                        group=ordinal,
                        first=first,
                        problem_id=problem_id,
                        mode=mode,
                        prompt_ids=world.prompt(problem_id, mode),
                        sampling=sampling,
                        seeds=seeds[first:stop],
                        temperature=r.temperature,
                        max_new_tokens=r.max_new_tokens,
                    )
                )
    return requests


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


def generate(parts: Parts, requests: list[SampleRequest]) -> list[Rollout]:
    """Share requests over the engines; rollouts in request order, whichever engine wrote them."""
    shares = [requests[i :: len(parts.engines)] for i in range(len(parts.engines))]
    pending = [engine.start("generate", share) for engine, share in zip(parts.engines, shares, strict=True)]
    rollouts = [rollout for part in finish(pending) for rollout in part]
    place = {(r.group, r.first + i): n for n, r in enumerate(requests) for i in range(len(r.seeds))}
    return sorted(rollouts, key=lambda r: (place[r.group, int(r.id.split("-")[1])], int(r.id.split("-")[1])))


def grade(parts: Parts, world: World, rollouts: list[Rollout]) -> Batch:
    """Grade rollouts on all graders, in order."""
    jobs = [GradeJob(r.id, world.problems[r.problem_id], r.mode, r.text) for r in rollouts]
    count = len(parts.graders)
    pending = [grader.start("grade", jobs[i::count]) for i, grader in enumerate(parts.graders)]
    verdicts: list[Any] = [None] * len(jobs)
    for i, share in enumerate(finish(pending)):
        verdicts[i::count] = share
    return Batch(rollouts, [reward for reward, _ in verdicts], [audit for _, audit in verdicts])


class Driver:
    """One training run, from its first or its next update to its last."""

    def __init__(self, config: Config, world: World, parts: Parts, run: RunDir) -> None:
        self.config, self.world, self.parts, self.run_dir = config, world, parts, run
        self.stop: int | None = None

    def run(self, first: int = 0) -> None:
        """Train updates `first` to the last. Raises Interrupted after the update in which SIGINT or SIGTERM arrived."""
        previous = {s: signal.signal(s, self._on_signal) for s in (signal.SIGINT, signal.SIGTERM)}
        progress = Progress(f"{self.config.arm} seed {self.config.seed}: update", self.config.train.updates, first)
        try:
            self._publish()
            if first == 0:
                self._checkpoint(0)
            for update in range(first, self.config.train.updates):
                metrics = self._update(update)
                done = update + 1
                if done % self.config.train.checkpoint_every == 0 or done == self.config.train.updates or self.stop:
                    self._checkpoint(done)
                progress.step(f"hack {metrics['hack_rate']:.2f}  solve {metrics['solve_rate']:.2f}")
                if self.stop:
                    raise Interrupted(self.stop)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _on_signal(self, signum: int, _frame: Any) -> None:
        if self.stop:
            raise KeyboardInterrupt  # the second one ends at once; the last checkpoint is whole
        self.stop = signum

    def _update(self, update: int) -> dict[str, Any]:
        """Sample, grade, update, publish, record."""
        clock = Stopwatch()
        prompts = self.config.rollout.prompts
        rollouts = generate(self.parts, requests_for(self.config, self.world, range(update * prompts, (update + 1) * prompts)))
        clock.lap("generate_s")
        batch = grade(self.parts, self.world, rollouts)
        clock.lap("grade_s")
        graded = [(r, p.value) for r, p in zip(batch.rollouts, batch.rewards, strict=True) if p.value is not None]
        result = finish(self.parts.learner.start("update", [sample_of(r, value) for r, value in graded]))
        clock.lap("update_s")
        canary_gap = self._publish()
        clock.lap("publish_s")
        metrics = {"update": update, **self._rates(batch), **result.metrics, "canary_gap": canary_gap, **clock.laps}
        self._record(update, batch, result.gated, metrics)
        return metrics

    def _publish(self) -> float:
        """Hand the learner's version to every engine; returns the largest canary gap."""
        adapter = self.parts.learner.start("publish")
        return max(finish([engine.start("load", adapter) for engine in self.parts.engines]))

    def _rates(self, batch: Batch) -> dict[str, Any]:
        table = by_mode(batch.audits)
        lengths = [len(r.completion_ids) for r in batch.rollouts]
        paid = [p.value for p in batch.rewards if p.value is not None]
        return {
            "rollouts": len(lengths),
            "hack_rate": table["all"].rate("hack"),
            "solve_rate": table["all"].rate("solve"),
            "infra_errors": table["all"].infra_error,
            "per_mode": {mode: dataclasses.asdict(counts) for mode, counts in table.items()},
            "reward_mean": sum(paid) / len(paid) if paid else float("nan"),
            "length_mean": sum(lengths) / len(lengths),
            "truncated_share": sum(r.finish == "length" for r in batch.rollouts) / len(lengths),
        }

    def _record(self, update: int, batch: Batch, gated: list[Gated], metrics: dict[str, Any]) -> None:
        by_id = {g.rollout_id: dataclasses.asdict(g) for g in gated}
        rows = []
        for rollout, reward in zip(batch.rollouts, batch.rewards, strict=True):
            said = by_id.get(rollout.id, {"score": None, "label": None, "advantage": None, "skipped": True})
            said.pop("rollout_id", None)
            text = {"prompt": self.world.tokenizer.decode(rollout.prompt_ids), "reward": reward.value}
            rows.append({"update": update, **dataclasses.asdict(rollout), **text, **said})
        self.run_dir.append("rollouts.jsonl", rows)
        self.run_dir.append("audits.jsonl", [{"update": update, **dataclasses.asdict(a)} for a in batch.audits])
        self.run_dir.append("metrics.jsonl", [metrics])

    def _checkpoint(self, version: int) -> None:
        adapter, optimizer = finish(self.parts.learner.start("checkpoint"))
        folder = self.run_dir.checkpoint(version)
        write_whole(folder / "train.safetensors", adapter)
        write_whole(folder / "optimizer.safetensors", optimizer)


class Stopwatch:
    """Seconds between laps."""

    def __init__(self) -> None:
        self.last, self.laps = time.monotonic(), {}

    def lap(self, name: str) -> None:
        """Store the seconds since the last lap under `name`."""
        now = time.monotonic()
        self.laps[name], self.last = round(now - self.last, 4), now
