"""Engine, graders and learner as parts of one run, in this process (`local`) or as Ray actors, behind the same two calls.

Invariant: `start` never blocks under Ray and returns something that `finish` turns into the value; what one part
returns can be handed to another part's `start` unfinished, and then travels once, through Ray's object store.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from sandbox.grade import Grader
from vgrout.config import Config
from vgrout.environment import actor_environment
from vgrout.errors import UserError
from vgrout.records import Audit, GradeJob, Pair, Reward


@dataclass(frozen=True)
class LocalPart:
    """A plain object in this process."""

    instance: Any

    def start(self, method: str, *args: Any) -> Any:
        """Call a method; the value itself."""
        return getattr(self.instance, method)(*args)


@dataclass(frozen=True)
class RayPart:
    """An actor handle."""

    handle: Any

    def start(self, method: str, *args: Any) -> Any:
        """Submit a method call; an ObjectRef."""
        return getattr(self.handle, method).remote(*args)


class LearnerPart(Protocol):
    """What the driver needs of the learner: one actor, several that work as one, or a plain object."""

    def start(self, method: str, *args: Any) -> Any: ...


Part = LocalPart | RayPart


def finish(pending: Any) -> Any:
    """The value (or list of values) of what `start` returned; raises what the method raised."""
    first = pending[0] if isinstance(pending, list) and pending else pending
    if type(first).__name__ != "ObjectRef":
        return pending
    import ray
    from ray.exceptions import RayTaskError

    try:
        return ray.get(pending)
    except RayTaskError as error:
        raise (error.cause if isinstance(error.cause, UserError) else error) from None


class GraderPart:
    """A sandbox Grader that takes a list of jobs; what a grader actor runs."""

    def __init__(self, level: str, deadline_s: float) -> None:
        self.grader = Grader(level=level, deadline_s=deadline_s)

    def grade(self, jobs: list[GradeJob]) -> list[tuple[Reward, Audit]]:
        """Grade jobs in order."""
        return [self.grader.grade(job) for job in jobs]

    def close(self) -> None:
        """End the zygote."""
        self.grader.close()


class Parts:
    """All parts of a run. Close it to end them."""

    def __init__(
        self, learner: LearnerPart | None, engines: list[Part], graders: list[Part], release: Callable[[], None] | None = None
    ) -> None:
        """`release` gives back what was reserved for the actors."""
        self._learner, self.engines, self.graders, self._release = learner, engines, graders, release

    @property
    def learner(self) -> LearnerPart:
        """The learner; an evaluation has none."""
        assert self._learner is not None
        return self._learner

    def close(self) -> None:
        """Close engines and graders, and end their actors."""
        for part in [*self.engines, *self.graders]:
            finish(part.start("close"))
        learners = getattr(self._learner, "handles", (getattr(self._learner, "handle", None),))
        for handle in [*(getattr(part, "handle", None) for part in [*self.engines, *self.graders]), *learners]:
            if handle is not None:
                import ray

                ray.kill(handle)
        if self._release is not None:
            self._release()


def engine_class(config: Config) -> type:
    """The configured engine's class."""
    if config.runtime.engine == "hf":
        from actors.hf_engine import HfEngine

        return HfEngine
    from actors.vllm_engine import VllmEngine, lora_limit

    lora_limit(config)  # fail here, with a message, and not inside an actor
    return VllmEngine


def spawn(config: Config, *, pairs: list[Pair] | None = None, fractions: list[tuple[float, ...]] | None = None,
          canary: tuple[tuple[int, ...], tuple[int, ...]] | None = None) -> Parts:  # fmt: skip
    """Make the parts of a training run (`pairs` given) or of an evaluation (`canary` given)."""
    from learner.learner import Learner

    engine, runtime = engine_class(config), config.runtime
    if runtime.backend == "local":
        learner = LocalPart(Learner(config, pairs, fractions)) if pairs is not None else None
        canary = canary or finish(learner.start("canary_ids") if learner else None)
        return Parts(
            learner,
            [LocalPart(engine(config, canary)) for _ in range(runtime.engines)],
            [LocalPart(GraderPart(runtime.jail, runtime.grade_deadline_s)) for _ in range(runtime.graders)],
        )
    return _spawn_ray(config, engine, Learner, pairs, fractions, canary)


def _spawn_ray(config: Config, engine: type, learner_class: type, pairs: list[Pair] | None,
               fractions: list[tuple[float, ...]] | None, canary: Any) -> Parts:  # fmt: skip
    import ray

    from actors.cluster import connect, reserve
    from actors.learner_team import LearnerActor, spawn_team

    connect(config)
    runtime, reserved = config.runtime, reserve(config, learners=pairs is not None)

    def actor(kind: type, role: str, options: dict[str, Any]) -> Any:
        return ray.remote(kind).options(runtime_env={"env_vars": actor_environment(config, role)}, **options)

    learner = None
    if pairs is not None:
        if runtime.learners > 1:
            remotes = [actor(LearnerActor, "learner", reserved.options(seat)) for seat in reserved.placement.of("learner")]
            learner = spawn_team(remotes, config, pairs, fractions)
        else:
            (seat,) = reserved.placement.of("learner")
            learner = RayPart(actor(learner_class, "learner", reserved.options(seat)).remote(config, pairs, fractions))
        canary = finish(learner.start("canary_ids"))
    engines = [
        RayPart(actor(engine, "engine", reserved.options(seat)).remote(config, canary))
        for seat in reserved.placement.of("engine")
    ]
    graders = [
        RayPart(actor(GraderPart, "grader", reserved.grader_options(n)).remote(runtime.jail, runtime.grade_deadline_s))
        for n in range(runtime.graders * reserved.nodes)
    ]
    return Parts(learner, list(engines), list(graders), reserved.release)
