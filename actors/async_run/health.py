"""The health of the parts of one kind (engines, or graders): which may get work, which are dead, when to stop. No I/O.

    HEALTHY <-> SUSPECT (does not answer) -> DEAD -> RESTARTING -> STALE (up, without the current weights) -> HEALTHY
                                             DEAD -> RETIRED (restarted too often)

Invariants: the only way from DEAD to HEALTHY is through STALE and a completed load of the version that is current then; only
a HEALTHY part is given work; with fewer than `floor` parts that are not RETIRED, `below_floor` is true and the run stops.
Graders have no weights: their current version is always 0.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Health(StrEnum):
    """The state of one part."""

    HEALTHY = "healthy"
    SUSPECT = "suspect"
    DEAD = "dead"
    RESTARTING = "restarting"
    STALE = "stale"
    RETIRED = "retired"


UP = (Health.HEALTHY, Health.SUSPECT, Health.STALE)


@dataclass
class Member:
    """One part. `version` is what it serves (-1: nothing); `asked` since when it owes an answer (None: owes none)."""

    health: Health = Health.STALE
    version: int = -1
    restarts: int = 0
    asked: float | None = None


@dataclass(frozen=True)
class HealthLimits:
    """Seconds without an answer until a part is SUSPECT and DEAD, restarts per part, and the floor."""

    suspect_s: float
    dead_s: float
    restarts: int
    floor: int


class Fleet:
    """All parts of one kind. They begin STALE: up, nothing loaded."""

    def __init__(self, names: Iterable[str], limits: HealthLimits, current: int = 0) -> None:
        self.members = {name: Member() for name in names}
        self.limits, self.current = limits, current
        # Indexes: with hundreds of parts, a loop over all of them per event is too slow.
        self._healthy: dict[str, None] = {}
        self._count = Counter(member.health for member in self.members.values())

    def publish(self, version: int) -> None:
        """A new version is current. HEALTHY parts serve their old one until they have loaded it; STALE ones wait."""
        self.current = version

    def asked(self, name: str, now: float) -> None:
        """A call to the part is under way since `now`."""
        self.members[name].asked = now

    def answered(self, name: str) -> None:
        """The part has answered. If it was SUSPECT it is HEALTHY again, since it kept its weights."""
        member = self.members[name]
        member.asked = None
        if member.health is Health.SUSPECT:
            self._become(name, Health.HEALTHY)

    def silent(self, now: float) -> list[str]:
        """Mark parts whose answer is overdue as SUSPECT; returns the names of those that must be declared dead."""
        dead = []
        for name, member in self.members.items():
            if member.asked is None or member.health not in UP:
                continue
            if now - member.asked >= self.limits.dead_s:
                dead.append(name)
            elif now - member.asked >= self.limits.suspect_s and member.health is Health.HEALTHY:
                self._become(name, Health.SUSPECT)
        return dead

    def died(self, name: str) -> bool:
        """The part is DEAD and has lost its weights. Returns True if it is to be restarted; otherwise it is RETIRED."""
        member = self.members[name]
        member.version, member.asked = -1, None
        if member.restarts >= self.limits.restarts:
            self._become(name, Health.RETIRED)
            return False
        self._become(name, Health.DEAD)
        return True

    def restarting(self, name: str) -> None:
        """Its new process is being started. Only from DEAD."""
        member = self.members[name]
        assert member.health is Health.DEAD, member
        member.restarts += 1
        self._become(name, Health.RESTARTING)

    def started(self, name: str) -> None:
        """The new process is up. It is STALE until it has loaded the current version, whatever weights it started with."""
        member = self.members[name]
        assert member.health is Health.RESTARTING, member
        member.version = -1
        self._become(name, Health.STALE)

    def loaded(self, name: str, version: int) -> None:
        """The part serves `version` now. A STALE part becomes HEALTHY only if that is the current version."""
        member = self.members[name]
        if member.health not in UP:
            return  # an answer of the process that died
        member.version = version
        if member.health is Health.STALE and version == self.current:
            self._become(name, Health.HEALTHY)

    def serving(self) -> list[str]:
        """Names of the parts that may be given work."""
        return list(self._healthy)

    def up(self) -> int:
        """The number of parts with a live process: those that serve, and those that will after an answer or a load."""
        return sum(self._count[health] for health in UP)

    def serves(self, name: str) -> bool:
        """May the part be given work?"""
        return name in self._healthy

    def behind(self, name: str) -> bool:
        """Is the part up, without the current version?"""
        member = self.members[name]
        return member.health in UP and member.version != self.current

    def version(self, name: str) -> int:
        """What a part serves; -1 for nothing."""
        return self.members[name].version

    def below_floor(self) -> bool:
        """Can too few parts ever work again?"""
        return sum(m.health is not Health.RETIRED for m in self.members.values()) < self.limits.floor

    def _become(self, name: str, health: Health) -> None:
        self._count[self.members[name].health] -= 1
        self._count[health] += 1
        self.members[name].health = health
        if health is Health.HEALTHY:
            self._healthy[name] = None
        else:
            self._healthy.pop(name, None)
