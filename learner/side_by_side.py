"""Micro-batches side by side on the CPU, each on a thread of its own.

Invariant: results come in the order of the items, and a micro-batch gives the same bits on whichever thread it runs, so a sum
over them does not depend on the number of threads.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
_pool: ThreadPoolExecutor | None = None  # of this process, as torch's own threads are; None: one after the other


def use(count: int) -> None:
    """Let `count` micro-batches of this process run at once from now on."""
    global _pool
    if _pool is not None:
        _pool.shutdown(cancel_futures=True)
    _pool = ThreadPoolExecutor(count, "micro-batch") if count > 1 else None


def together() -> bool:
    """Whether more than one runs at a time."""
    return _pool is not None


def in_order(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """`function` of every item. Without threads an item is computed when its result is asked for."""
    return map(function, items) if _pool is None else _pool.map(function, items)


def begin(function: Callable[[T], R], item: T) -> "Future[R]":
    """Start `function(item)`; without threads it is done on return. Its error is raised where the result is read."""
    if _pool is not None:
        return _pool.submit(function, item)
    done: Future[R] = Future()
    done.set_result(function(item))
    return done
