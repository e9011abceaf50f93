"""Where the actors of a run are placed: bundles of CPUs and GPUs that Ray reserves together, and each actor's bundle.

Invariant: a pure function of the configuration, used by the plan and by the run. A bundle lies on one node; an actor lies
in one bundle; two learners never share a GPU (NCCL refuses two ranks on one device), engines and learners may.
"""

from dataclasses import dataclass

from vgrout.config import Config, RuntimeConfig

# Shares of a core that Ray reserves. In sync mode engines and learner take turns, so together they fit on few cores.
ENGINE_CPUS, LEARNER_CPUS, GRADER_CPUS = 0.5, 0.5, 0.25


@dataclass(frozen=True)
class Seat:
    """One actor: its role ("learner", "engine") and number, what it reserves, and its bundle."""

    role: str
    number: int
    cpus: float
    gpus: float
    bundle: int


@dataclass(frozen=True)
class Placement:
    """`bundles` of (CPUs, whole GPUs) for learners and engines, and their seats; graders have one bundle per node."""

    bundles: tuple[tuple[float, int], ...]
    seats: tuple[Seat, ...]

    def of(self, role: str) -> list[Seat]:
        """The seats of a role, by number."""
        return [seat for seat in self.seats if seat.role == role]

    @property
    def gpus(self) -> int:
        """GPUs reserved in all."""
        return sum(gpus for _, gpus in self.bundles)


def place(config: Config) -> Placement:
    """Seat learners, then engines, first fit: a share below 1 goes to a GPU that has as much left."""
    r = config.runtime
    wanted = [("learner", n, LEARNER_CPUS, r.learner_gpus) for n in range(r.learners)]
    wanted += [("engine", n, ENGINE_CPUS, r.engine_gpus * r.engine_tp) for n in range(r.engines)]
    cpus: list[float] = []
    gpus: list[int] = []
    free: list[float] = []
    learners: set[int] = set()  # bundles whose GPU has a learner
    seats = []
    for role, number, cores, share in wanted:
        fits = (b for b in range(len(gpus)) if 0 < share <= free[b] + 1e-9 and not (role == "learner" and b in learners))
        bundle = next(fits, len(gpus))
        if bundle == len(gpus):
            whole = max(1, round(share)) if share else 0
            cpus.append(0.0)
            gpus.append(whole)
            free.append(float(whole))
        cpus[bundle] += cores
        free[bundle] -= share
        if role == "learner":
            learners.add(bundle)
        seats.append(Seat(role, number, cores, share, bundle))
    return Placement(tuple(zip(cpus, gpus, strict=True)), tuple(seats))


def grader_bundle(runtime: RuntimeConfig) -> float:
    """CPUs of the graders of one node."""
    return runtime.graders * GRADER_CPUS
