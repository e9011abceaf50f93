"""Engine, graders and learner as parts of one run, in this process (`local`) or as Ray actors, behind the same two calls.

Invariant: `start` never blocks under Ray and returns something that `finish` turns into the value; what one part
returns can be handed to another part's `start` unfinished, and then travels once, through Ray's object store.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from actors.engines.adapter_check import AdapterRejected
from actors.planning.placement import Seat
from actors.ray_cluster.environment import actor_environment
from actors.ray_cluster.watchdog import Whereabouts, watched
from sandbox.grading.grader import Grader
from vgrout.config import Config
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


class PartDied(RuntimeError):
    """A part's process is gone; `Parts.revive` starts a new one."""


class StartFailed(RuntimeError):
    """An actor's constructor failed, not for bad input; the message is the last line of what it raised."""


def finish(pending: Any) -> Any:
    """The value (or list of values) of what `start` returned; raises what the method raised, PartDied for a lost process."""
    first = pending[0] if isinstance(pending, list) and pending else pending
    if type(first).__name__ != "ObjectRef":
        return pending
    import ray
    from ray.exceptions import ObjectLostError, RayActorError, RayTaskError

    try:
        return ray.get(pending)
    except (RayActorError, ObjectLostError) as error:
        raise PartDied(_first_line(error)) from None
    except RayTaskError as error:
        if isinstance(error.cause, RayActorError | ObjectLostError):  # it was handed what a dead part should have made
            raise PartDied(_first_line(error.cause)) from None
        raise (error.cause if isinstance(error.cause, UserError | AdapterRejected) else error) from None


def _first_line(error: Exception) -> str:
    lines = (str(error).strip() or type(error).__name__).splitlines()
    return lines[-1] if getattr(error, "actor_init_failed", False) else lines[0]


def start_failure(error: Exception) -> Exception:
    """What was raised in an actor's constructor, from Ray's account of it: a UserError as itself, else StartFailed."""
    last, bad_input = _first_line(error), f"{UserError.__module__}.{UserError.__name__}: "
    if last.startswith(bad_input):
        where, _, rest = last.removeprefix(bad_input).partition(": found ")
        found, _, expected = rest.partition("; expected ")
        return UserError(where, found, expected)
    return StartFailed(last)


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
    """All parts of a run, by name: `learner`, `engine-0`, ..., `grader-0`, ... Close it to end them."""

    def __init__(self, release: Callable[[], None] | None = None) -> None:
        """`release` gives back what was reserved for the actors."""
        self._release = release
        self._make: dict[str, Callable[[], Any]] = {}
        self._parts: dict[str, Any] = {}

    def add(self, name: str, make: Callable[[], Any]) -> None:
        """Start a part; `make` starts it anew after its death."""
        self._make[name], self._parts[name] = make, make()

    def __getitem__(self, name: str) -> Any:
        return self._parts[name]

    @property
    def learner(self) -> LearnerPart:
        """The learner; an evaluation has none."""
        return self._parts["learner"]

    @property
    def engines(self) -> list[Part]:
        """The engines, by number."""
        return [self._parts[name] for name in self.names("engine")]

    @property
    def graders(self) -> list[Part]:
        """The graders, by number."""
        return [self._parts[name] for name in self.names("grader")]

    def names(self, kind: str) -> list[str]:
        """Names of the parts of a kind, by number."""
        return [name for name in self._parts if name.split("-")[0] == kind]

    def restart(self, name: str) -> None:
        """End what is left of a part and start it anew. Returns before the new process is up."""
        kill(self._parts[name])
        self._parts[name] = self._make[name]()

    def retire(self, name: str) -> None:
        """Go on without a part."""
        kill(self._parts.pop(name))

    def dead(self) -> list[str]:
        """Names of the parts whose process does not answer."""
        import ray
        from ray.exceptions import RayActorError

        lost, asked = [], {name: [h.about.remote() for h in handles(part)] for name, part in self._parts.items()}
        for name, pending in asked.items():
            try:
                ray.get(pending)
            except RayActorError:
                lost.append(name)
        return lost

    def about(self, name: str) -> Any:
        """Where the (first) process of a part runs, as an ObjectRef of a watchdog.Whereabouts: there once it is up."""
        return handles(self._parts[name])[0].about.remote()

    def wait_for_start(self) -> None:
        """Return once every actor's constructor has. Raises what failed in one: UserError, or StartFailed with its last line."""
        import ray
        from ray.exceptions import RayActorError

        try:
            ray.get([handle.about.remote() for part in self._parts.values() for handle in handles(part)])
        except RayActorError as error:
            raise start_failure(error) from None

    def whereabouts(self) -> dict[str, Whereabouts]:
        """Where all parts run; empty without Ray. Raises PartDied."""
        names = [name for name, part in self._parts.items() if handles(part)]
        return dict(zip(names, finish([self.about(name) for name in names]), strict=True))

    def close(self, patience_s: float = 10.0) -> None:
        """Let engines and graders clean up after themselves, and end all actors. Safe where some have died."""
        pending = [part.start("close") for part in [*self.engines, *self.graders]]
        if any(type(p).__name__ == "ObjectRef" for p in pending):
            import ray

            ray.wait(pending, num_returns=len(pending), timeout=patience_s)
        self.abandon()

    def abandon(self) -> None:
        """End all actors at once."""
        for part in self._parts.values():
            kill(part)
        self._parts = {}
        if self._release is not None:
            self._release()
            self._release = None


def handles(part: Any) -> tuple[Any, ...]:
    """The actor handles of a part: one, several (a learner team), or none without Ray."""
    if isinstance(part, LocalPart):
        return ()
    return tuple(getattr(part, "handles", None) or (part.handle,))


def kill(part: Any) -> None:
    """End a part's processes."""
    for handle in handles(part):
        import ray

        ray.kill(handle)


def engine_class(config: Config) -> type:
    """The configured engine's class."""
    if config.runtime.engine == "hf":
        from actors.engines.hf import HfEngine

        return HfEngine
    from actors.engines.vllm import VllmEngine, lora_limit

    lora_limit(config)  # fail here, with a message, and not inside an actor
    return VllmEngine


def spawn(config: Config, *, pairs: list[Pair] | None = None, fractions: list[tuple[float, ...]] | None = None,
          canary: tuple[tuple[int, ...], tuple[int, ...]] | None = None) -> Parts:  # fmt: skip
    """Make the parts of a training run (`pairs` given) or of an evaluation (`canary` given)."""
    from learner.learner import Learner

    engine, runtime = engine_class(config), config.runtime
    if runtime.backend == "local":
        parts = Parts()
        if pairs is not None:
            parts.add("learner", lambda: LocalPart(Learner(config, pairs, fractions)))
            canary = parts.learner.start("canary_ids")
        assert canary is not None
        for i in range(runtime.engines):
            parts.add(f"engine-{i}", lambda: LocalPart(engine(config, canary)))
        for i in range(runtime.graders):
            parts.add(f"grader-{i}", lambda: LocalPart(GraderPart(runtime.jail, runtime.grade_deadline_s)))
        return parts
    return _spawn_ray(config, engine, pairs, fractions, canary)


def _spawn_ray(
    config: Config, engine: type, pairs: list[Pair] | None, fractions: list[tuple[float, ...]] | None, canary: Any
) -> Parts:
    import ray

    from actors.ray_cluster.cluster import connect, reserve
    from actors.ray_cluster.learner_team import LearnerActor, spawn_team

    connect(config)
    runtime, reserved = config.runtime, reserve(config, learners=pairs is not None)
    parts = Parts(reserved.release)

    def actor(kind: type, role: str, options: dict[str, Any]) -> Any:
        return ray.remote(watched(kind)).options(runtime_env={"env_vars": actor_environment(config, role)}, **options)

    def learner() -> Any:
        assert pairs is not None
        remotes = [actor(LearnerActor, "learner", reserved.options(seat)) for seat in reserved.placement.of("learner")]
        return spawn_team(remotes, config, pairs, fractions) if len(remotes) > 1 else one(remotes[0], config, pairs, fractions)

    def one(remote: Any, *args: Any) -> RayPart:
        return RayPart(remote.remote(*args))

    def new_engine(seat: Seat) -> RayPart:
        return one(actor(engine, "engine", reserved.options(seat)), config, canary)

    def new_grader(number: int) -> RayPart:
        remote = actor(GraderPart, "grader", reserved.grader_options(number))
        return one(remote, runtime.jail, runtime.grade_deadline_s)

    try:
        if pairs is not None:
            parts.add("learner", learner)
            parts.wait_for_start()
            canary = finish(parts.learner.start("canary_ids"))
        for i, seat in enumerate(reserved.placement.of("engine")):
            parts.add(f"engine-{i}", partial(new_engine, seat))
        for i in range(runtime.graders * reserved.nodes):
            parts.add(f"grader-{i}", partial(new_grader, i))
        parts.wait_for_start()
    except BaseException:
        parts.abandon()
        raise
    return parts
