"""Calls to a worker and their values. A worker is an object in this process, a Ray actor, or a team of actors.

Invariant: starting a call never blocks under Ray. Its result can be passed to another worker's call before it is
finished; the value then travels once, through Ray's object store.
"""

from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from actors.engines.adapter_check import AdapterRejected
from vgrout.errors import UserError

T = TypeVar("T")


class WorkerDied(RuntimeError):
    """A worker's process is gone; `Workers.restart` starts a new one."""


class StartFailed(RuntimeError):
    """An actor's constructor failed, not for bad input; the message is the last line of what it raised."""


@dataclass(frozen=True)
class Pending(Generic[T]):
    """A call under way. `held` is its value (in this process) or the ObjectRef of it (under Ray)."""

    held: Any

    @property
    def remote(self) -> bool:
        """Whether the value is still to be fetched."""
        return type(self.held).__name__ == "ObjectRef"  # by name, so that runs without Ray never import it


class Target(Protocol):
    """Where the calls of one worker go."""

    @property
    def actors(self) -> tuple[Any, ...]:
        """The Ray actor handles behind it: one, several (a learner team), or none in this process."""
        ...

    def call(self, method: str, *args: object) -> Pending[Any]:
        """Start a call; arguments may be Pending themselves."""
        ...


@dataclass(frozen=True)
class InProcess:
    """A plain object in this process; a call is over when it returns."""

    instance: object
    actors: tuple[Any, ...] = ()

    def call(self, method: str, *args: object) -> Pending[Any]:
        """Call the method."""
        return Pending(getattr(self.instance, method)(*_held(args)))


@dataclass(frozen=True)
class OneActor:
    """One Ray actor."""

    handle: Any

    @property
    def actors(self) -> tuple[Any, ...]:
        """Its handle."""
        return (self.handle,)

    def call(self, method: str, *args: object) -> Pending[Any]:
        """Submit the call."""
        return Pending(self.handle.call.remote(method, *_held(args)))


def finish(pending: Pending[T]) -> T:
    """The value of a call. Raises what the method raised, WorkerDied for a lost process."""
    return finish_all([pending])[0]


def finish_all(pending: list[Pending[T]]) -> list[T]:
    """The values of calls, in order. Raises as `finish` does."""
    if not any(one.remote for one in pending):
        return [one.held for one in pending]
    import ray
    from ray.exceptions import ObjectLostError, RayActorError, RayTaskError

    try:
        return ray.get([one.held for one in pending])
    except (RayActorError, ObjectLostError) as error:
        raise WorkerDied(first_line(error)) from None
    except RayTaskError as error:
        if isinstance(error.cause, RayActorError | ObjectLostError):  # its argument should have come from a worker that died
            raise WorkerDied(first_line(error.cause)) from None
        raise (error.cause if isinstance(error.cause, UserError | AdapterRejected) else error) from None


def first_done(pending: list[Pending[Any]]) -> int:
    """The place of a call that is over, the first of them where several are; waits for one."""
    if not any(one.remote for one in pending):
        return 0
    import ray

    ready, _ = ray.wait([one.held for one in pending], num_returns=1)
    return [one.held for one in pending].index(ready[0])


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its type where it has none; of a failed constructor the last, which says why."""
    lines = (str(error).strip() or type(error).__name__).splitlines()
    return lines[-1] if getattr(error, "actor_init_failed", False) else lines[0]


def start_failure(error: BaseException) -> Exception:
    """What was raised in an actor's constructor, from Ray's account of it: a UserError as itself, else StartFailed."""
    last, bad_input = first_line(error), f"{UserError.__module__}.{UserError.__name__}: "
    if last.startswith(bad_input):
        where, _, rest = last.removeprefix(bad_input).partition(": found ")
        found, _, expected = rest.partition("; expected ")
        return UserError(where, found, expected)
    return StartFailed(last)


def _held(args: tuple[object, ...]) -> list[object]:
    return [one.held if isinstance(one, Pending) else one for one in args]
