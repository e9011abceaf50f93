"""How long learner and engines waited between two asynchronous updates, and which groups were dropped. No I/O.

Invariant: `read` returns every second and every drop exactly once.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from vgrout.rows import Row


class WaitMetrics:
    """Idle times and drops since the update before, for an update's metrics."""

    def __init__(self, engines: Sequence[str]) -> None:
        self.engines = len(engines)
        self.dropped: Counter[str] = Counter()
        self.canary_gap: float | None = None  # of what was loaded since; nothing yet
        self._learner_since = 0.0
        self._idle_since: dict[str, float] = {}
        self._idle_s = 0.0

    def learner_idle(self, now: float) -> None:
        """The learner waits for a batch from now on."""
        self._learner_since = now

    def engine_idle(self, name: str, now: float) -> None:
        """No group may be admitted, and the engine has nothing to sample."""
        self._idle_since.setdefault(name, now)

    def engine_busy(self, name: str, now: float) -> None:
        """The engine has work."""
        self._idle_s += now - self._idle_since.pop(name, now)

    def engine_gone(self, name: str) -> None:
        """The engine is dead; its idle time no longer counts."""
        self._idle_since.pop(name, None)

    def loaded(self, canary_gap: float) -> None:
        """An engine has loaded a version, with this gap of its canary."""
        self.canary_gap = max(self.canary_gap or 0.0, canary_gap)

    def read(self, now: float) -> Row:
        """Seconds that the learner waited for this batch, mean seconds that engines were held back, and drops; starts anew."""
        for name, since in self._idle_since.items():
            self._idle_s, self._idle_since[name] = self._idle_s + now - since, now
        stats = {
            "time/wait_rollouts": round(now - self._learner_since, 4),
            "time/backpressure": round(self._idle_s / self.engines, 4),
            "dropped": dict(self.dropped),
        }
        if self.canary_gap is not None:
            stats["canary_gap"] = self.canary_gap
        self.dropped, self.canary_gap, self._idle_s = Counter(), None, 0.0
        return stats


def of_batch(ages: Mapping[str, int], replayed: bool, seconds: float) -> Row:
    """What an update's metrics say of the batch that it trained on, and of its own time."""
    return {"staleness": dict(ages), "replayed": replayed, "time/update": round(seconds, 4)}
