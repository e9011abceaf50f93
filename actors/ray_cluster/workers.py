"""The workers of one run by name: starting, restarting and ending its learner, engines and graders.

Invariant: a worker's kind is given by the table that it is in, and is never read from its name.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from actors.engines.protocol import Canary, EngineClass
from actors.planning.placement import Seat
from actors.ray_cluster.calls import InProcess, OneActor, Pending, Target, finish_all, start_failure
from actors.ray_cluster.environment import actor_environment
from actors.ray_cluster.handles import EngineHandle, GraderHandle, LearnerHandle
from actors.ray_cluster.watchdog import Whereabouts, watched
from sandbox.grading.grader import Grader
from sandbox.grading.loopholes import Parity
from vgrout.config import Config
from vgrout.config_runtime import RuntimeConfig
from vgrout.records import Audit, GradeJob, Pair, Reward

LEARNER = "learner"


class GraderWorker:
    """A sandbox Grader that takes a list of jobs; what a grader actor runs."""

    def __init__(self, runtime: RuntimeConfig) -> None:
        self.grader = Grader(runtime.jail, runtime.grade_deadline_s, Parity(runtime.parity), runtime.packages)

    def grade(self, jobs: list[GradeJob]) -> list[tuple[Reward, Audit]]:
        """Grade jobs in order."""
        return [self.grader.grade(job) for job in jobs]

    def close(self) -> None:
        """End the jail's processes."""
        self.grader.close()


class Workers:
    """All workers of a run. Close it to end them."""

    def __init__(self, release: Callable[[], None] | None = None) -> None:
        """`release` gives back what was reserved for the actors."""
        self._release = release
        self._start: dict[str, Callable[[], Target]] = {}
        self._targets: dict[str, Target] = {}
        self._engines: list[str] = []
        self._graders: list[str] = []

    def add_learner(self, start: Callable[[], Target]) -> None:
        """Start the learner; `start` starts it anew after its death."""
        self._add(LEARNER, start)

    def add_engine(self, start: Callable[[], Target]) -> None:
        """Start one more engine."""
        self._engines.append(f"engine-{len(self._engines)}")
        self._add(self._engines[-1], start)

    def add_grader(self, start: Callable[[], Target]) -> None:
        """Start one more grader."""
        self._graders.append(f"grader-{len(self._graders)}")
        self._add(self._graders[-1], start)

    def _add(self, name: str, start: Callable[[], Target]) -> None:
        self._start[name], self._targets[name] = start, start()

    @property
    def learner(self) -> LearnerHandle:
        """The learner; an evaluation has none."""
        return LearnerHandle(self._targets[LEARNER])

    def engine(self, name: str) -> EngineHandle:
        """The engine of a name."""
        return EngineHandle(self._targets[name])

    def grader(self, name: str) -> GraderHandle:
        """The grader of a name."""
        return GraderHandle(self._targets[name])

    @property
    def engine_names(self) -> list[str]:
        """Names of the engines, in the order in which they were added."""
        return list(self._engines)

    @property
    def grader_names(self) -> list[str]:
        """Names of the graders, in the order in which they were added."""
        return list(self._graders)

    @property
    def engines(self) -> list[EngineHandle]:
        """The engines, in order."""
        return [self.engine(name) for name in self._engines]

    @property
    def graders(self) -> list[GraderHandle]:
        """The graders, in order."""
        return [self.grader(name) for name in self._graders]

    def restart(self, name: str) -> None:
        """End what is left of a worker and start it anew. Returns before the new process is up."""
        kill(self._targets[name])
        self._targets[name] = self._start[name]()

    def retire(self, name: str) -> None:
        """Go on without a worker."""
        kill(self._targets.pop(name))
        self._engines = [one for one in self._engines if one != name]
        self._graders = [one for one in self._graders if one != name]

    def dead(self) -> list[str]:
        """Names of the workers whose process does not answer."""
        import ray
        from ray.exceptions import RayActorError

        lost, asked = [], {name: [a.about.remote() for a in target.actors] for name, target in self._targets.items()}
        for name, pending in asked.items():
            try:
                ray.get(pending)
            except RayActorError:
                lost.append(name)
        return lost

    def about(self, name: str) -> Pending[Whereabouts]:
        """Where the (first) process of a worker runs; available once the process is up."""
        return Pending(self._targets[name].actors[0].about.remote())

    def wait_for_start(self) -> None:
        """Return once every actor's constructor has. Raises what failed in one: UserError, or StartFailed with its last line."""
        import ray
        from ray.exceptions import RayActorError

        try:
            ray.get([actor.about.remote() for target in self._targets.values() for actor in target.actors])
        except RayActorError as error:
            raise start_failure(error) from None

    def whereabouts(self) -> dict[str, Whereabouts]:
        """Where all workers run; empty without Ray. Raises WorkerDied."""
        names = [name for name, target in self._targets.items() if target.actors]
        return dict(zip(names, finish_all([self.about(name) for name in names]), strict=True))

    def close(self, patience_s: float = 10.0) -> None:
        """Let engines and graders clean up after themselves, and end all actors. Safe where some have died."""
        pending = [worker.close() for worker in [*self.engines, *self.graders]]
        if refs := [one.held for one in pending if one.remote]:
            import ray

            ray.wait(refs, num_returns=len(refs), timeout=patience_s)
        self.abandon()

    def abandon(self) -> None:
        """End all actors at once."""
        for target in self._targets.values():
            kill(target)
        self._targets, self._engines, self._graders = {}, [], []
        if self._release is not None:
            self._release()
            self._release = None


def kill(target: Target) -> None:
    """End a worker's processes."""
    for handle in target.actors:
        import ray

        ray.kill(handle)


def engine_class(config: Config) -> EngineClass:
    """The configured engine's class."""
    if config.runtime.engine == "hf":
        from actors.engines.hf import HfEngine

        return HfEngine
    from actors.engines.vllm import VllmEngine, check_precision, lora_limit

    check_precision(config)
    lora_limit(config)  # fail here, with a message, and not inside an actor
    return VllmEngine


def start_workers(config: Config, canary: Canary, *, pairs: list[Pair] | None = None,
                  fractions: list[tuple[float, ...]] | None = None) -> Workers:  # fmt: skip
    """Make the workers of a training run (`pairs` given) or of an evaluation. `canary`: the text to check adapters with."""
    from learner.learner import Learner

    engine, runtime = engine_class(config), config.runtime
    if runtime.backend == "ray":
        return _start_on_ray(config, engine, pairs, fractions, canary)
    workers = Workers()
    if pairs is not None:
        workers.add_learner(lambda: InProcess(Learner(config, pairs, fractions, canary)))
    for _ in range(runtime.engines):
        workers.add_engine(lambda: InProcess(engine(config, canary)))
    for _ in range(runtime.graders):
        workers.add_grader(lambda: InProcess(GraderWorker(runtime)))
    return workers


def _start_on_ray(
    config: Config,
    engine: EngineClass,
    pairs: list[Pair] | None,
    fractions: list[tuple[float, ...]] | None,
    canary: Canary,
) -> Workers:
    import ray

    from actors.ray_cluster.cluster import connect, reserve
    from actors.ray_cluster.learner_team import LearnerActor, start_team

    connect(config)
    runtime, reserved = config.runtime, reserve(config, learners=pairs is not None)
    workers = Workers(reserved.release)

    def actor_class(kind: type, role: str, options: dict[str, object]) -> Any:
        return ray.remote(watched(kind)).options(runtime_env={"env_vars": actor_environment(config, role)}, **options)

    def learner() -> Target:
        assert pairs is not None
        seats = reserved.placement.of("learner")
        classes = [actor_class(LearnerActor, "learner", reserved.options(seat)) for seat in seats]
        if len(classes) > 1:
            return start_team(classes, config, pairs, fractions, canary)
        return OneActor(classes[0].remote(config, pairs, fractions, canary))

    def new_engine(seat: Seat) -> Target:
        return OneActor(actor_class(engine, "engine", reserved.options(seat)).remote(config, canary))

    def new_grader(number: int) -> Target:
        remote = actor_class(GraderWorker, "grader", reserved.grader_options(number))
        return OneActor(remote.remote(runtime))

    try:
        if pairs is not None:
            workers.add_learner(learner)
            if 0 < runtime.engine_gpus < 1:
                # On a shared GPU an engine measures the free memory, so the learner must have taken its share before.
                workers.wait_for_start()
        for seat in reserved.placement.of("engine"):
            workers.add_engine(partial(new_engine, seat))
        for i in range(runtime.graders * reserved.nodes):
            workers.add_grader(partial(new_grader, i))
        workers.wait_for_start()
    except BaseException:
        workers.abandon()
        raise
    return workers
