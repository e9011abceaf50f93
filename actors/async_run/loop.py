"""The asynchronous driver's loop: decisions (stream.py) on one side, whoever carries them out on the other.

Real parts (streaming.py) and the simulator (simulation.py) go through this loop and begin from `new_stream`; neither Ray nor
files are known here. Invariant: events are decided on in the order in which they were heard, and every action that followed is
begun before the next ones are listened for.
"""

from typing import Protocol

from actors.async_run import messages as e
from actors.async_run.group_ledger import Ledger
from actors.async_run.health import Fleet, HealthLimits
from actors.async_run.scheduler import Pace, Stream
from actors.journal.journal import Past
from vgrout.config import Config
from vgrout.rows import Row

NEVER = float("inf")


class Carrier(Protocol):
    """Who carries actions out: real parts (RayCarrier) or a simulator."""

    def now(self) -> float:
        """Seconds on the clock of this world."""
        ...

    def do(self, action: e.Action) -> None:
        """Begin to carry an action out; its answer comes from `wait`."""
        ...

    def wait(self) -> list[e.Event]:
        """Wait until something has happened; what it was. A Tick at least once a second."""
        ...


def drive(stream: Stream, carrier: Carrier) -> e.End:
    """Run to the end. This loop is the whole of the asynchronous driver, here and in the simulator."""
    actions = stream.begin(carrier.now())
    while True:
        for action in actions:
            carrier.do(action)
        if stream.ended:
            return stream.ended
        actions = [action for event in carrier.wait() for action in stream.on(event, carrier.now())]


def new_stream(config: Config, engines: list[str], graders: list[str], checkpoint: int, state: Row, past: Past) -> Stream:
    """The decisions' state at a checkpoint: the ledger as it was then, with what the journal knows beyond it."""
    r, rollout = config.runtime, config.rollout
    ledger = Ledger(state.get("frontier", checkpoint * rollout.prompts), state.get("ahead", ()))
    ledger.settle(key.ordinal for batch in past.batches for key in batch.keys)
    ledger.settle(past.dropped)
    version = checkpoint + len(past.batches)
    for key, graded in past.groups.items():
        if graded.version <= version:  # written by a version that was lost with its batch: sampled again
            ledger.adopt(key.ordinal, key.attempt, graded.version)
    # A grader works through a group program by program; only a silence longer than all their deadlines is one.
    grading = 60 + 6 * rollout.samples * r.grade_deadline_s
    pace = Pace(
        prompts=rollout.prompts,
        updates=config.train.updates,
        max_staleness=r.max_staleness,
        checkpoint_every=config.train.checkpoint_every,
        engine_groups=max(1, r.max_num_seqs // rollout.samples),
    )
    return Stream(
        pace,
        Fleet(engines, HealthLimits(r.suspect_s, r.dead_s, r.restarts, r.engine_floor), current=-1),
        Fleet(graders, HealthLimits(grading, grading, r.restarts, 1)),
        Fleet([e.LEARNER], HealthLimits(NEVER, NEVER, r.restarts, 1)),  # an update takes what it takes; the watchdog looks on
        ledger,
        checkpoint=checkpoint,
        replay=past.batches,
    )
