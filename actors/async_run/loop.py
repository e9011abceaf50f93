"""The loop of the asynchronous driver: the scheduler decides, an executor carries its decisions out.

Real workers (ray_executor.py) and the simulator (actors/simulation/cluster.py) both run through this loop. It knows neither Ray
nor files. Invariant: events are handled in the order in which they arrive, and every action that follows from them is started
before the loop waits for the next events.
"""

from typing import Protocol

from actors.async_run import messages as e
from actors.async_run.group_ledger import Ledger
from actors.async_run.health import Fleet, HealthLimits
from actors.async_run.scheduler import Pace, Scheduler
from actors.journal.journal import Past
from vgrout.config import Config
from vgrout.rows import Row

NEVER = float("inf")


class Executor(Protocol):
    """Carries out the actions of a scheduler: on real workers (RayExecutor) or in a simulation."""

    def now(self) -> float:
        """Seconds on the executor's clock."""
        ...

    def do(self, action: e.Action) -> None:
        """Start an action; `wait` returns its answer."""
        ...

    def wait(self) -> list[e.Event]:
        """Wait until something happens, and return all that has happened. There is a Tick at least once a second."""
        ...


def drive(scheduler: Scheduler, executor: Executor) -> e.End:
    """Run to the end."""
    actions = scheduler.begin(executor.now())
    while True:
        for action in actions:
            executor.do(action)
        if scheduler.ended:
            return scheduler.ended
        actions = [action for event in executor.wait() for action in scheduler.on(event, executor.now())]


def new_scheduler(config: Config, engines: list[str], graders: list[str], checkpoint: int, state: Row, past: Past) -> Scheduler:
    """A scheduler that goes on from a checkpoint: the checkpoint's ledger, and what the journal recorded after it."""
    r, rollout = config.runtime, config.rollout
    ledger = Ledger(state.get("frontier", checkpoint * rollout.prompts), state.get("ahead", ()))
    ledger.settle(key.ordinal for batch in past.batches for key in batch.keys)
    ledger.settle(past.dropped)
    version = checkpoint + len(past.batches)
    for key, graded in past.groups.items():
        if graded.version <= version:  # a group of a later version is sampled again: that version was lost
            ledger.adopt(key.ordinal, key.attempt, graded.version)
    # A grader answers after the last program of a group, so it may be silent for the sum of their deadlines.
    grading = 60 + 6 * rollout.samples * r.grade_deadline_s
    pace = Pace(
        prompts=rollout.prompts,
        updates=config.train.updates,
        max_staleness=r.max_staleness,
        checkpoint_every=config.train.checkpoint_every,
        engine_groups=max(1, r.max_num_seqs // rollout.samples),
    )
    return Scheduler(
        pace,
        Fleet(engines, HealthLimits(r.suspect_s, r.dead_s, r.restarts, r.engine_floor), current=-1),
        Fleet(graders, HealthLimits(grading, grading, r.restarts, 1)),
        Fleet([e.LEARNER], HealthLimits(NEVER, NEVER, r.restarts, 1)),  # the watchdog alone reports a stalled update
        ledger,
        checkpoint=checkpoint,
        replay=past.batches,
    )
