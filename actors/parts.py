"""Engine, graders and learner as parts of one run, in this process (`local`) or as Ray actors, behind the same two calls.

Invariant: `start` never blocks under Ray and returns something that `finish` turns into the value; what one part
returns can be handed to another part's `start` unfinished, and then travels once, through Ray's object store.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sandbox.grade import Grader
from vgrout.config import Config
from vgrout.environment import engine_environment
from vgrout.errors import UserError
from vgrout.records import Audit, GradeJob, Pair, Reward

# Shares of a core that Ray books. In sync mode engines and learner take turns, so together they fit on few cores.
ENGINE_CPUS, LEARNER_CPUS, GRADER_CPUS = 0.5, 0.5, 0.25


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

    def __init__(self, learner: LearnerPart | None, engines: list[Part], graders: list[Part]) -> None:
        self._learner, self.engines, self.graders = learner, engines, graders

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


def engine_class(config: Config) -> type:
    """The configured engine's class."""
    if config.runtime.engine == "hf":
        from actors.hf_engine import HfEngine

        return HfEngine
    from actors.vllm_engine import VllmEngine, lora_limit

    lora_limit(config)  # fail here, with a message, and not inside an actor
    return VllmEngine


def connect(config: Config) -> None:
    """Join the Ray cluster of RAY_ADDRESS (as under `ray job submit`), or start one here. Raises UserError if it is short."""
    import ray

    if not ray.is_initialized():
        need = (
            config.runtime.engines * ENGINE_CPUS + config.runtime.learners * LEARNER_CPUS + config.runtime.graders * GRADER_CPUS
        )
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if "RAY_ADDRESS" not in os.environ:
            options |= {"include_dashboard": False, "num_cpus": max(os.cpu_count() or 1, int(need) + 1)}
        try:
            ray.init(**options)
        except ConnectionError as error:
            raise UserError("RAY_ADDRESS", f"{os.environ.get('RAY_ADDRESS')} ({error})", "the address of a running Ray") from None
    _check_resources(config, ray.cluster_resources())


def _check_resources(config: Config, have: Mapping[str, float]) -> None:
    r = config.runtime
    cpus = r.engines * ENGINE_CPUS + r.learners * LEARNER_CPUS + r.graders * GRADER_CPUS
    gpus = r.engines * r.engine_gpus + r.learners * r.learner_gpus
    for name, need, found in (("CPUs", cpus, have.get("CPU", 0)), ("GPUs", gpus, have.get("GPU", 0))):
        if need > found:
            raise UserError(f"runtime: {name}", f"{found:g} in the Ray cluster", f"at least {need:g} for the configured actors")


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

    connect(config)
    runtime = config.runtime

    def actor(kind: type, cpus: float, gpus: float, env: dict[str, str]) -> Any:
        return ray.remote(kind).options(num_cpus=cpus, num_gpus=gpus, runtime_env={"env_vars": env})

    learner = None
    if pairs is not None:
        threads = {"OMP_NUM_THREADS": str(runtime.learner_threads), "OMP_WAIT_POLICY": "PASSIVE"}
        if runtime.learners > 1:
            from actors.learner_team import LearnerActor, spawn_team

            learner = spawn_team(actor(LearnerActor, LEARNER_CPUS, runtime.learner_gpus, threads), config, pairs, fractions)
        else:
            handle = actor(learner_class, LEARNER_CPUS, runtime.learner_gpus, threads).remote(config, pairs, fractions)
            learner = RayPart(handle)
        canary = finish(learner.start("canary_ids"))
    engines = [
        RayPart(actor(engine, ENGINE_CPUS, runtime.engine_gpus, engine_environment(config)).remote(config, canary))
        for _ in range(runtime.engines)
    ]
    graders = [
        RayPart(actor(GraderPart, GRADER_CPUS, 0, {}).remote(runtime.jail, runtime.grade_deadline_s))
        for _ in range(runtime.graders)
    ]
    return Parts(learner, list(engines), list(graders))
