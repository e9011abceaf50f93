"""Asynchronous mode on real workers: carries out the actions of scheduler.py through Ray, and returns the answers as events.

Invariants: a batch is on the disk, in the journal, before the learner gets it, and a graded group before it may be taken. The
bytes of an adapter go from the learner to the engines through Ray's object store, never through this process. Audits go from
the grader to the journal and the log, never to the learner.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import ray
from ray.exceptions import ObjectLostError, RayActorError, RayTaskError

from actors.async_run import messages as e
from actors.async_run.loop import drive, new_scheduler
from actors.async_run.wait_metrics import of_batch
from actors.engines.adapter_check import AdapterRejected
from actors.engines.protocol import Slice
from actors.journal.journal import Graded, Journal, Past
from actors.ray_cluster import kill_points
from actors.ray_cluster.calls import Pending, first_line
from actors.ray_cluster.watchdog import Watchdog, Whereabouts
from actors.ray_cluster.workers import Workers
from actors.rollouts.dataset import Dataset
from actors.rollouts.recorder import Recorder, samples_for
from actors.rollouts.relaxed import given_labels
from actors.rollouts.sampling import grade_jobs, group_of, join
from actors.rollouts.update_line import update_line
from vgrout.config import Config
from vgrout.errors import UserError
from vgrout.group_records import Key, TakenBatch
from vgrout.progress import Progress
from vgrout.records import AdapterVersion, Audit, Reward, Rollout, UpdateResult
from vgrout.rows import Row
from vgrout.run_directory import RunDir
from vgrout.signals import Interrupted, RunStopped, StopFlag, stop_signals

T = TypeVar("T")


def train_async(config: Config, dataset: Dataset, workers: Workers, run: RunDir, past: Past) -> None:
    """Train asynchronously to the end, from the newest whole checkpoint, which the learner has been restored to.

    Raises Interrupted after SIGINT or SIGTERM, RunStopped below the floor of engines.
    """
    recorder = Recorder(config, dataset, run)
    checkpoint, state, _ = run.newest_whole()
    scheduler = new_scheduler(config, workers.engine_names, workers.grader_names, checkpoint, state, past)
    where: dict[str, Whereabouts] = {}
    runtime = config.runtime
    with stop_signals(runtime.stop_s) as flag, Watchdog(runtime.watchdog_s, run.path, where) as watchdog:
        executor = RayExecutor(config, dataset, workers, run, recorder, past, flag, watchdog, where)
        executor.journal.resume(scheduler.next_update)
        end = drive(scheduler, executor)
        executor.close()
    if end.outcome is e.EndReason.FLOOR:
        raise RunStopped(end.why)
    if end.outcome is e.EndReason.STOPPED and flag.signum:
        raise Interrupted(flag.signum)


@dataclass(frozen=True)
class Awaited:
    """A call under way: the worker's name, and what makes events of its value."""

    name: str
    then: Callable[[Any], list[e.Event]]
    span: int


class RayExecutor:
    """Real workers. It keeps the groups' rollouts, rewards and audits; the scheduler sees only their keys."""

    def __init__(self, config: Config, dataset: Dataset, workers: Workers, run: RunDir, recorder: Recorder, past: Past,
                 flag: StopFlag, watchdog: Watchdog, where: dict[str, Whereabouts]) -> None:  # fmt: skip
        self.config, self.dataset, self.workers, self.run_dir, self.recorder = config, dataset, workers, run, recorder
        self.journal = Journal(run.path / "journal.bin")
        self.sampled: dict[Key, list[Rollout]] = {}
        self.graded: dict[Key, Graded] = dict(past.groups)
        self.adapter: Pending[AdapterVersion] | None = None  # the newest published version
        self.pending: dict[ray.ObjectRef, Awaited] = {}
        self.flag, self.asked_to_stop = flag, False
        self.watchdog, self.where, self.last_tick = watchdog, where, time.monotonic()
        where.update(workers.whereabouts())
        done = run.newest_whole()[0]
        self.progress = Progress(f"{config.arm} seed {config.seed}: update", config.train.updates, done)

    def now(self) -> float:
        """Seconds of the monotonic clock."""
        return time.monotonic()

    def wait(self) -> list[e.Event]:
        """All events since the last call; returns after a second at the latest."""
        self.journal.sync()
        if self.pending:
            ready, _ = ray.wait(list(self.pending), num_returns=1, timeout=1.0, fetch_local=False)
            more, _ = ray.wait(list(self.pending), num_returns=len(self.pending), timeout=0, fetch_local=False)
            ready = list(dict.fromkeys([*ready, *more]))
        else:
            time.sleep(0.05)
            ready = []
        found = [event for ref in ready if ref in self.pending for event in self._hear(ref, self.pending.pop(ref))]
        if any(not isinstance(x, e.Advanced) or x.finished for x in found):
            self.watchdog.moved()
        if self.flag.signum and not self.asked_to_stop:
            self.asked_to_stop = True
            found.append(e.StopAsked(self.flag.signum))
        training = any(p.name == e.LEARNER for p in self.pending.values())
        self.progress.inside(f"{len(self.graded)} groups graded, the learner {'works' if training else 'waits'}")
        if self.now() - self.last_tick >= 1:
            self.last_tick = self.now()
            found.append(e.Tick())
        self.journal.sync()  # graded groups are on the disk before a decision builds on them
        return found

    def close(self) -> None:
        """Stop all sampling and close the journal."""
        self.journal.sync()
        self.journal.close()
        idle = [engine.clear().held for engine in self.workers.engines]
        ray.wait(idle, num_returns=len(idle), timeout=10)

    def do(self, action: e.Action) -> None:
        """Start an action."""
        match action:
            case e.Advance(engine, groups, version):
                self._advance(engine, groups, version)
            case e.Load(engine, version):
                assert self.adapter is not None  # the scheduler loads what was published
                self._expect(
                    self.workers.engine(engine).load(self.adapter),
                    engine,
                    f"load version {version}",
                    lambda gap: [e.Loaded(engine, version, gap)],
                )
                kill_points.reach("publish", version, self.where)
            case e.Grade(grader, key):
                rollouts = self.sampled[key]
                call = self.workers.grader(grader).grade(grade_jobs(self.dataset, rollouts))
                self._expect(call, grader, "grade", lambda verdicts: self._grade_done(grader, key, rollouts, verdicts))
            case e.Update(update, keys, replay, stats):
                self._update(update, keys, replay, stats)
            case e.Publish(version):
                adapter, signed = self.workers.learner.publish_signed()
                self._expect(signed, e.LEARNER, f"publish version {version}", lambda _: self._published(adapter, version))
            case e.Checkpoint(version, frontier, ahead):
                call = self.workers.learner.checkpoint()
                self._expect(call, e.LEARNER, "checkpoint", lambda files: self._checkpoint_done(version, files, frontier, ahead))
                kill_points.reach("checkpoint", version, self.where)
            case e.Restart(name, why):
                self.recorder.died(name, f"{why}; starting it anew")
                self._restart(name)
            case e.Retire(name, why):
                self.recorder.died(name, f"{why}; going on without it")
                self.workers.retire(name)
                self.where.pop(name, None)
            case e.Restore(version):
                self._restore(version)
            case e.Drop(dropped):
                self.journal.drop(dropped)
                self._forget(Key(dropped.ordinal, dropped.attempt))
            case e.Forget(keys):
                for key in keys:
                    self._forget(key)
            case e.End():
                self.journal.sync()

    def _expect(self, call: Pending[T], name: str, what: str, then: Callable[[T], list[e.Event]]) -> None:
        self.pending[call.held] = Awaited(name, then, self.recorder.work.begin(name, what))

    def _hear(self, ref: ray.ObjectRef, pending: Awaited) -> list[e.Event]:
        """The events that follow from an answer. A lost process is one Died event."""
        self.recorder.work.end(pending.span)
        try:
            value = ray.get(ref)
        except (RayActorError, ObjectLostError) as error:
            return self._lost(pending.name, error)
        except RayTaskError as error:
            return self._failed(pending.name, error)
        return pending.then(value)

    def _lost(self, name: str, error: Exception) -> list[e.Event]:
        self.recorder.work.lost(name)
        self.pending = {ref: p for ref, p in self.pending.items() if p.name != name}
        return [e.Died(name, first_line(error))]

    def _failed(self, name: str, error: RayTaskError) -> list[e.Event]:
        """A method raised. An engine that could not load a version is a Rejected event; any other error ends the run."""
        cause = error.cause
        if isinstance(cause, UserError):
            raise cause from None
        if name in self.workers.engine_names and isinstance(cause, AdapterRejected | ObjectLostError | RayActorError):
            why = str(cause).splitlines()[0]
            self.recorder.refused(name, why)
            return [e.Rejected(name, -1, why)]
        raise error

    def _advance(self, engine: str, groups: tuple[Key, ...], version: int) -> None:
        work = [group_of(self.config, self.dataset, key) for key in groups]
        call = self.workers.engine(engine).advance(work, self.config.runtime.slice_s)
        self._expect(call, engine, "sample", lambda result: self._advance_done(engine, result))
        for key in groups:
            kill_points.reach("generate", key.ordinal // self.config.rollout.prompts, self.where)

    def _advance_done(self, engine: str, result: Slice) -> list[e.Event]:
        self.sampled.update(result.finished)
        return [e.Advanced(engine, tuple(key for key, _ in result.finished), tuple(result.aborted))]

    def _grade_done(self, grader: str, key: Key, rollouts: list[Rollout], verdicts: list[tuple[Reward, Audit]]) -> list[e.Event]:
        graded = Graded(key, rollouts, [reward for reward, _ in verdicts], [audit for _, audit in verdicts])
        self.sampled.pop(key, None)
        self.graded[key] = graded
        self.journal.group(graded)
        return [e.Graded(grader, key)]

    def _update(self, update: int, keys: tuple[Key, ...], replay: bool, stats: Row) -> None:
        if not replay:
            self.journal.batch(TakenBatch(update, keys))
            self.journal.sync()
        groups, began = [self.graded[key] for key in keys], time.monotonic()
        batch, ages = join(groups), Counter(str(update - group.version) for group in groups)

        def done(result: UpdateResult) -> list[e.Event]:
            extra = {**stats, **of_batch(ages, replay, time.monotonic() - began)}
            metrics = self.recorder.update(update, batch, result, extra)
            self.progress.step(update_line(metrics))
            return [e.Updated(update + 1)]

        call = self.workers.learner.update(samples_for(self.config, self.dataset, batch), given_labels(self.config, batch.audits))
        self._expect(call, e.LEARNER, "update", done)

    def _published(self, adapter: Pending[AdapterVersion], version: int) -> list[e.Event]:
        self.adapter = adapter
        return [e.Published(version)]

    def _checkpoint_done(self, version: int, files: tuple[bytes, bytes], frontier: int, ahead: tuple[int, ...]) -> list[e.Event]:
        self.recorder.checkpoint(version, files, frontier, ahead)
        return [e.Checkpointed(version)]

    def _restart(self, name: str) -> None:
        self.recorder.work.lost(name)
        self.pending = {ref: p for ref, p in self.pending.items() if p.name != name}
        self.workers.restart(name)

        def up(where: Whereabouts) -> list[e.Event]:
            self.where[name] = where
            return [e.Started(name)]

        self._expect(self.workers.about(name), name, "start", up)

    def _restore(self, version: int) -> None:
        newest, _, damaged = self.run_dir.newest_whole()
        if newest != version:
            raise RunStopped("; ".join(damaged) or f"checkpoint {version} is not there any more")
        self.progress.done = version
        call = self.workers.learner.restore(*self.run_dir.read_checkpoint(version))
        self.run_dir.truncate(version)
        self._expect(call, e.LEARNER, "restore", lambda _: [e.Restored(version)])

    def _forget(self, key: Key) -> None:
        self.sampled.pop(key, None)
        self.graded.pop(key, None)
