"""Ties vLLM's own processes to the process that uses them: when one ends, the others end too, and what failed in one is told.

Invariant: when the asking process or the core is killed, the other one ends within a second, so no core is left holding memory
or a GPU, and no caller waits for ever. vLLM (0.32.0) itself does neither: its client waits on a queue that a killed core never
fills, and a core whose client is gone waits for the next request. With VLLM_ENABLE_V1_MULTIPROCESSING=0 there is one process.
"""

import ctypes
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import parent_process, resource_tracker
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors.engines import vllm_cpu_lora_patch as cpu_lora

if TYPE_CHECKING:
    from vllm import LLM

CORE_DIED = 70  # exit code of an engine's process whose core process is gone
PATIENCE_S = 6  # for the core to end by itself
CAUSE = "VGROUT_VLLM_CAUSE"  # names the file in which a process that fails to start says why
_SET_PDEATHSIG = 1
_stock: dict[str, Callable[..., None]] = {}  # vLLM's own functions, in a process that has replaced them and in its forks


def tie_core() -> None:
    """From now on every core process that this thread starts dies with it. Call before vLLM's LLM is made."""
    from vllm.v1.engine.core import EngineCoreProc
    from vllm.v1.executor.multiproc_executor import WorkerProc

    _replace(EngineCoreProc, "run_engine_core", run_core)
    _replace(WorkerProc, "worker_main", run_worker)  # the core may be in this process, and its worker not


def run_core(*args: object, **options: object) -> None:
    """The main function of the core process: it ties itself to its parent, then runs vLLM's own function."""
    parent = parent_process()
    tied = ctypes.CDLL(None).prctl(_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0
    if not tied or parent is None or parent.pid != os.getppid():  # the parent may have died before the tie
        os._exit(CORE_DIED)
    os.setpgid(0, 0)  # Ctrl-C in a terminal is for the driver: vLLM would end the core in the middle of an update
    from vllm.platforms import current_platform
    from vllm.v1.engine.core import EngineCoreProc
    from vllm.v1.executor.multiproc_executor import WorkerProc

    if current_platform.is_cpu():
        cpu_lora.install()  # a spawned process has none of its parent's patches
    _replace(WorkerProc, "worker_main", run_worker)
    try:
        _stock.get("run_engine_core", EngineCoreProc.run_engine_core)(*args, **options)
    except Exception as error:
        note_cause(error)
        raise


def run_worker(*args: object, **options: object) -> None:
    """The main function of a worker process of the core. vLLM itself ties it to the core, and catches what its start raises."""
    from vllm.platforms import current_platform
    from vllm.v1.executor.multiproc_executor import WorkerProc

    if current_platform.is_cpu():
        cpu_lora.install()
    begin = WorkerProc.__init__

    def noting(*args: Any, **options: Any) -> None:
        try:
            begin(*args, **options)
        except Exception as error:
            note_cause(error)
            raise

    WorkerProc.__init__ = noting
    _stock.get("worker_main", WorkerProc.worker_main)(*args, **options)


def note_cause(error: Exception) -> None:
    """Write down why this process fails to start, where it was asked for; the first of several processes is the cause."""
    if place := os.environ.get(CAUSE):
        with suppress(OSError), Path(place).open("x") as file:  # there already, or its reader has gone
            file.write(f"{type(error).__name__}: {' '.join(str(error).split())}"[:1000])


@contextmanager
def cause_told() -> Iterator[None]:
    """What vLLM's start raises inside the block says why: its own message names no cause where another process failed."""
    with tempfile.TemporaryDirectory(prefix="vgrout-start-") as folder:
        place = Path(folder) / "cause"
        os.environ[CAUSE] = str(place)
        try:
            yield
        except Exception as error:  # vLLM raises a bare one where a worker of a core in this process failed
            if not place.is_file():
                raise
            raise RuntimeError(f"vLLM did not start: {place.read_text()}") from error
        finally:
            del os.environ[CAUSE]


def _replace(owner: type, name: str, ours: Callable[..., None]) -> None:
    if name not in _stock:
        _stock[name] = getattr(owner, name)
        setattr(owner, name, staticmethod(ours))


@contextmanager
def together(llm: "LLM") -> Iterator[None]:
    """Requests that are added inside the block start in the same step, even if the core is another process. Nothing else may run.

    Which requests share a step shows in the last bits of their log-probabilities, and so in those of the adapter.
    """
    call = getattr(llm.llm_engine.engine_core, "call_utility", None)
    if call is None:  # the core is in this process, and steps when it is told to
        yield
        return
    call("pause_scheduler", "keep", False)
    try:
        yield
    finally:
        call("resume_scheduler")


def end_with_core(llm: "LLM") -> Callable[[], None]:
    """End this process as soon as the core process of `llm` is gone, so that the driver notices.

    Returns a function that ends the core and frees its shared memory without ending this process.
    """
    client = llm.llm_engine.engine_core
    manager = getattr(getattr(client, "resources", None), "engine_manager", None)
    if manager is None:
        return lambda: None
    sentinels, parting = [process.sentinel for process in manager.processes], threading.Event()

    def watch() -> None:
        wait(sentinels)
        if not parting.is_set():
            os._exit(CORE_DIED)

    def part() -> None:
        parting.set()
        client.shutdown(timeout=PATIENCE_S)
        # What killed workers have left in /dev/shm is removed by Python's tracker when its last client has gone.
        resource_tracker._resource_tracker._stop()  # pyright: ignore[reportAttributeAccessIssue]

    threading.Thread(target=watch, name="engine-core", daemon=True).start()
    return part
