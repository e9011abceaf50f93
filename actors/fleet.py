"""The health of the parts of one kind (engines, or graders): who may be given work, who is dead, when to stop. Pure, no I/O.

    HEALTHY <-> SUSPECT (does not answer) -> DEAD -> RESTARTING -> STALE (up, without the current weights) -> HEALTHY
                                             DEAD -> RETIRED (restarted too often)

Invariants: the only way from DEAD to HEALTHY is through STALE and a completed load of the version that is current then; only
a HEALTHY part is given work; with fewer than `floor` parts that are not RETIRED, `below_floor` is true and the run stops.
Graders have no weights: their current version is always 0.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Health(StrEnum):
    """State of one part."""

    HEALTHY = "healthy"
    SUSPECT = "suspect"
    DEAD = "dead"
    RESTARTING = "restarting"
    STALE = "stale"
    RETIRED = "retired"


@dataclass
class Member:
    """One part. `version` is what it serves (-1: nothing); `asked` since when it owes an answer (None: owes none)."""

    health: Health = Health.STALE
    version: int = -1
    restarts: int = 0
    asked: float | None = None


@dataclass(frozen=True)
class Limits:
    """Seconds without an answer until a part is SUSPECT and DEAD, restarts per part, and the floor."""

    suspect_s: float
    dead_s: float
    restarts: int
    floor: int


class Fleet:
    """All parts of one kind. They begin STALE: up, nothing loaded."""

    def __init__(self, names: Iterable[str], limits: Limits, current: int = 0) -> None:
        self.members = {name: Member() for name in names}
        self.limits, self.current = limits, current

    def publish(self, version: int) -> None:
        """A new version is current. HEALTHY parts go on serving theirs until they have loaded it; STALE ones need it."""
        self.current = version

    def asked(self, name: str, now: float) -> None:
        """A call to the part is under way since `now`."""
        self.members[name].asked = now

    def answered(self, name: str) -> None:
        """Its call came back. A SUSPECT part never lost its weights: it is HEALTHY again."""
        member = self.members[name]
        member.asked = None
        if member.health is Health.SUSPECT:
            member.health = Health.HEALTHY

    def silent(self, now: float) -> list[str]:
        """Mark parts that have owed an answer for too long; the names of those that are to be declared dead."""
        dead = []
        for name, member in self.members.items():
            if member.asked is None or member.health in (Health.DEAD, Health.RESTARTING, Health.RETIRED):
                continue
            if now - member.asked >= self.limits.dead_s:
                dead.append(name)
            elif now - member.asked >= self.limits.suspect_s and member.health is Health.HEALTHY:
                member.health = Health.SUSPECT
        return dead

    def died(self, name: str) -> bool:
        """It is DEAD, its weights are gone. True where it is to be restarted; else it is RETIRED."""
        member = self.members[name]
        member.version, member.asked = -1, None
        if member.restarts >= self.limits.restarts:
            member.health = Health.RETIRED
            return False
        member.health = Health.DEAD
        return True

    def restarting(self, name: str) -> None:
        """Its new process is being started. Only from DEAD."""
        member = self.members[name]
        assert member.health is Health.DEAD, member
        member.health, member.restarts = Health.RESTARTING, member.restarts + 1

    def started(self, name: str) -> None:
        """Its new process is up, with whatever it came up with: STALE until a load of the current version completes."""
        member = self.members[name]
        assert member.health is Health.RESTARTING, member
        member.health, member.version = Health.STALE, -1

    def loaded(self, name: str, version: int) -> None:
        """It serves `version` now. A STALE part becomes HEALTHY only where that is the current one."""
        member = self.members[name]
        if member.health in (Health.DEAD, Health.RESTARTING, Health.RETIRED):
            return  # an answer of the process that died
        member.version = version
        if member.health is Health.STALE and version == self.current:
            member.health = Health.HEALTHY

    def serving(self) -> list[str]:
        """Names of the parts that may be given work."""
        return [name for name, member in self.members.items() if member.health is Health.HEALTHY]

    def behind(self) -> list[str]:
        """Names of the parts that are up and do not have the current version."""
        up = (Health.HEALTHY, Health.SUSPECT, Health.STALE)
        return [name for name, m in self.members.items() if m.health in up and m.version != self.current]

    def version(self, name: str) -> int:
        """What a part serves; -1 for nothing."""
        return self.members[name].version

    def below_floor(self) -> bool:
        """Can too few parts ever work again?"""
        return sum(m.health is not Health.RETIRED for m in self.members.values()) < self.limits.floor
