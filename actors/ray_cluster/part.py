"""What runs in an actor's process: it makes the learner, an engine or a grader there, and passes calls on to it.

Invariant: nothing heavy is imported before the environment is set and Python's collector is off. The driver therefore names a
class without importing it. An import of torch, transformers or vllm makes a million objects that stay for good; collecting
among them is a fifth of its time, so they are put out of the collector's sight.
"""

import gc
import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from actors.ray_cluster.watchdog import Whereabouts, listen


@dataclass(frozen=True)
class Kind:
    """A class to make in another process: its module and name, or the class itself, and modules that its constructor imports."""

    module: str
    name: str
    imports: tuple[str, ...] = ()
    given: type | None = None

    def load(self) -> type:
        """Import the class and what its constructor will need."""
        for name in self.imports:
            importlib.import_module(name)
        return self.given or getattr(importlib.import_module(self.module), self.name)


def kind_of(given: type) -> Kind:
    """A class that travels with the call, as tests have them."""
    return Kind(given.__module__, given.__name__, given=given)


@contextmanager
def collector_off() -> Iterator[None]:
    """Python's collector is off inside the block."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Part:
    """An actor. Its methods are `call` and those that tell where it runs."""

    def __init__(self, environment: dict[str, str], kind: Kind, *args: Any) -> None:
        self._stacks = listen()
        os.environ.update(environment)
        with collector_off():
            made = kind.load()
            gc.freeze()  # before the constructor: vLLM's asks for whole collections
            self._inner = made(*args)
            gc.freeze()

    def call(self, method: str, *args: Any) -> Any:
        """Call a method of what was made."""
        return getattr(self._inner, method)(*args)

    def about(self) -> Whereabouts:
        """Process id and node."""
        import ray

        return Whereabouts(os.getpid(), ray.get_runtime_context().get_node_id())


def part_class(kind: Kind) -> type[Part]:
    """The class of an actor; Ray's messages and process lists show the name of what it makes."""
    return type(kind.name, (Part,), {})
