"""Lets programs that use threads run in the one thread that the jail allows: a thread's work is done when it is started.

A real thread draws a number from a counter of the whole machine, which another program can read; so the jail refuses it. What
honest solutions want of threads (a larger stack, a parallel map) works in place. A program whose threads wait for each other
runs into its deadline.

Invariant: nothing here guards anything; it runs in the untrusted child.
"""

import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any


def run_threads_in_place() -> None:
    """Patch this process's threads and executors."""
    threading.Thread.start = _start  # type: ignore[method-assign]
    threading.Thread.join = lambda self, timeout=None: None  # type: ignore[method-assign]
    threading.Thread.is_alive = lambda self: False  # type: ignore[method-assign]
    for executor in (ThreadPoolExecutor, ProcessPoolExecutor):
        executor.submit = _submit  # type: ignore[method-assign,assignment]
    ProcessPoolExecutor.map = ThreadPoolExecutor.map  # type: ignore[method-assign,assignment]


def _start(thread: threading.Thread) -> None:
    if thread.__dict__.get("_was_started"):
        raise RuntimeError("threads can only be started once")
    thread.__dict__["_was_started"] = True
    try:
        thread.run()
    except SystemExit:
        pass
    except Exception as error:
        sys.stderr.write(f"{type(error).__name__} in {thread.name}\n")


def _submit(_executor: Any, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
    future: Future[Any] = Future()
    try:
        future.set_result(work(*args, **kwargs))
    except Exception as error:
        future.set_exception(error)
    return future
