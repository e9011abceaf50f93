"""The driver in sync mode: sample, grade, update, publish, in turn; the reference for everything asynchronous.

Invariants: rewards go to the learner and audits to the audit log, by two separate ways; every choice is a pure
function of (seed, update), so a run that goes on from a checkpoint ends in the bytes of one that was never stopped. The same
happens when a part dies: the part is restarted, the learner restores the last checkpoint, and the run goes on from there.
"""

import time
from collections import Counter

from actors.engines.adapter_check import AdapterRejected
from actors.journal.journal import Graded, Journal, Past
from actors.ray_cluster import kill_points
from actors.ray_cluster.calls import WorkerDied, finish, finish_all
from actors.ray_cluster.watchdog import Watchdog, Whereabouts
from actors.ray_cluster.workers import Workers
from actors.rollouts.dataset import Dataset
from actors.rollouts.group_flow import GroupFlow
from actors.rollouts.recorder import GradedRollouts, Recorder, samples_before_verdicts, samples_for
from actors.rollouts.relaxed import given_labels
from actors.rollouts.sampling import group_of, join
from actors.rollouts.update_line import update_line
from vgrout.config import Config
from vgrout.group_records import Key, TakenBatch
from vgrout.progress import Progress
from vgrout.records import Rollout
from vgrout.rows import Row
from vgrout.run_directory import RunDir
from vgrout.signals import Interrupted, RunStopped, stop_signals


class Driver:
    """One training run, from its first or its next update to its last."""

    def __init__(self, config: Config, dataset: Dataset, workers: Workers, run: RunDir, past: Past) -> None:
        """`past`: what the journal knows beyond the checkpoint that the learner was put back to."""
        self.config, self.dataset, self.workers, self.run_dir = config, dataset, workers, run
        self.recorder, self.journal = Recorder(config, dataset, run), Journal(run.path / "journal.bin")
        self.groups = dict(past.groups)  # graded since the last checkpoint; replayed after a death
        self.deaths: Counter[str] = Counter()
        self.where: dict[str, Whereabouts] = {}

    def run(self, first: int = 0) -> None:
        """Train updates `first` to the last. Raises Interrupted after the update in which SIGINT or SIGTERM arrived."""
        self.progress = self._progress(first)
        runtime = self.config.runtime
        with (
            stop_signals(runtime.stop_s) as flag,
            Watchdog(runtime.watchdog_s, self.run_dir.path, self.where) as self.watchdog,
        ):
            if first == 0:
                self._checkpoint(0)
            self.journal.resume(first)
            update, published = first, False
            while update < self.config.train.updates:
                try:
                    if not published:
                        self._publish(update)
                    metrics = self._update(update)
                    stop = flag.signum  # read once: what arrives after the checkpoint stops the run after the next update
                    self._checkpoint_if_due(update + 1, stop)
                except WorkerDied as death:
                    update, published = self._recover(str(death)), False
                    self.progress = self._progress(update)
                    continue
                update, published = update + 1, True
                self.progress.step(update_line(metrics))
                if stop:
                    raise Interrupted(stop)

    def _progress(self, first: int) -> Progress:
        return Progress(f"{self.config.arm} seed {self.config.seed}: update", self.config.train.updates, first)

    def _update(self, update: int) -> Row:
        """Sample, grade, update, publish, record."""
        clock = Stopwatch()
        batch = self._journaled(update) or self._sample(update, clock)
        self.progress.inside("the learner trains")
        span = self.recorder.work.begin("learner", "update")
        samples = samples_for(self.config, self.dataset, batch)
        result = finish(self.workers.learner.update(samples, given_labels(self.config, batch.audits)))
        self.recorder.work.end(span)
        clock.lap("time/update")
        self.progress.inside("engines load the new version")
        canary_gap = self._publish(update + 1)
        clock.lap("time/publish")
        laps = clock.laps
        idle = {
            "canary_gap": canary_gap,
            "staleness": {"0": self.config.rollout.prompts},
            "time/wait_rollouts": round(laps.get("time/generate", 0) + laps.get("time/grade", 0), 4),
            "time/backpressure": round(laps["time/update"] + laps["time/publish"], 4),
        }
        return self.recorder.update(update, batch, result, {**idle, **laps})

    def _sample(self, update: int, clock: "Stopwatch") -> GradedRollouts:
        """Let the engines and graders make the batch of an update, and journal it.

        Every group goes on as soon as it is whole: to a grader, and to the learner, which computes what follows from its tokens
        and the weights; what follows from the weights alone it computes before that.
        """
        ordinals = self._ordinals(update)
        wanted = [group_of(self.config, self.dataset, Key(o, 0)) for o in ordinals]
        flow = GroupFlow(self.workers, self.dataset, wanted, self.recorder.work, self._ahead)
        self._ahead([])
        kill_points.reach("generate", update, self._whereabouts())
        found: dict[int, Graded] = {}
        self.progress.inside(flow.far())
        for group in flow.graded(sampled=lambda: clock.lap("time/generate")):
            self.watchdog.moved()
            found[group.key.ordinal] = group
            self.progress.inside(flow.far())
        clock.lap("time/grade")
        groups = [found[ordinal] for ordinal in ordinals]
        self._journal(update, groups)
        return join(groups)

    def _ahead(self, rollouts: list[Rollout]) -> None:
        if self.config.works_ahead:
            self.workers.learner.prepare(samples_before_verdicts(self.config, self.dataset, rollouts))

    def _ordinals(self, update: int) -> range:
        return range(update * self.config.rollout.prompts, (update + 1) * self.config.rollout.prompts)

    def _journaled(self, update: int) -> GradedRollouts | None:
        """The batch of an update as the journal has it: groups of its ordinals, written by this version."""
        found = [self.groups.get(Key(ordinal, 0)) for ordinal in self._ordinals(update)]
        groups = [g for g in found if g is not None and g.version == update]
        return join(groups) if len(groups) == len(found) else None

    def _journal(self, update: int, groups: list[Graded]) -> None:
        for group in groups:
            self.groups[group.key] = group
            self.journal.group(group)
        self.journal.batch(TakenBatch(update, tuple(group.key for group in groups)))
        self.journal.sync()

    def _publish(self, version: int) -> float:
        """Hand the learner's version to every engine; returns the largest canary gap. A refused one is published once more."""
        try:
            return self._hand_over(version)
        except AdapterRejected as first:
            self.recorder.refused("an engine", str(first))
        try:
            return self._hand_over(version)
        except AdapterRejected as second:
            raise RunStopped(f"refused twice: {second}") from None

    def _hand_over(self, version: int) -> float:
        adapter = self.workers.learner.publish()
        spans = [self.recorder.work.begin(name, f"load version {version}") for name in self.workers.engine_names]
        pending = [engine.load(adapter) for engine in self.workers.engines]
        kill_points.reach("publish", version, self._whereabouts())
        gap = max(finish_all(pending))
        for span in spans:
            self.recorder.work.end(span)
        self.watchdog.moved()
        return gap

    def _checkpoint_if_due(self, version: int, stop: int | None) -> None:
        if version % self.config.train.checkpoint_every == 0 or version == self.config.train.updates or stop:
            self._checkpoint(version)

    def _checkpoint(self, version: int) -> None:
        span = self.recorder.work.begin("learner", "checkpoint")
        pending = self.workers.learner.checkpoint()
        kill_points.reach("checkpoint", version, self._whereabouts())
        frontier = version * self.config.rollout.prompts
        self.recorder.checkpoint(version, finish(pending), frontier)
        self.recorder.work.end(span)
        self.groups = {key: g for key, g in self.groups.items() if key.ordinal >= frontier}
        self.watchdog.moved()

    def _recover(self, why: str) -> int:
        """Start dead parts anew, put the learner back to the last checkpoint; the update to go on with."""
        while True:
            # No part is dead: the published bytes were lost with a node, and publishing makes them again.
            for name in self.workers.dead() or ["object store"]:
                self.deaths[name] += 1
                self.recorder.died(name, f"{why}; starting it anew")
                self.recorder.work.lost(name)
                if self.deaths[name] > self.config.runtime.restarts:
                    raise RunStopped(f"{name} died {self.deaths[name]} times, the last time of: {why}")
                if name != "object store":
                    self.workers.restart(name)
            self.where.clear()
            try:
                finish_all([engine.clear() for engine in self.workers.engines])
                return restore(self.run_dir, self.workers)
            except WorkerDied as death:
                why = str(death)

    def _whereabouts(self) -> dict[str, Whereabouts]:
        if not self.where:
            self.where.update(self.workers.whereabouts())
        return self.where


def restore(run: RunDir, workers: Workers) -> int:
    """Put the learner back to the newest whole checkpoint and the logs with it; returns its version."""
    version, _, _ = run.newest_whole()
    finish(workers.learner.restore(*run.read_checkpoint(version)))
    run.truncate(version)
    return version


class Stopwatch:
    """Seconds between laps."""

    def __init__(self) -> None:
        self.last, self.laps = time.monotonic(), {}

    def lap(self, name: str) -> None:
        """Store the seconds since the last lap under `name`."""
        now = time.monotonic()
        self.laps[name], self.last = round(now - self.last, 4), now
