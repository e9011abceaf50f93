"""The engine's half of the acceptance run: the canary at version 0, wide adapters, swaps, a kill, a failed start.

Invariant: a check measures and judges; what this machine cannot show is NOT_HERE, never a pass.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from actors.engines.protocol import EngineClass
from learner.acceptance import Line, judged, not_here
from learner.learner import Learner
from vgrout.config import Config
from vgrout.records import AdapterVersion, Pair

DRIVER = 580  # the CUDA 13 wheel's
SWAPS = 10
BACK_S = 10.0  # in which a killed engine's memory must be free again


def machine_lines(cuda: bool) -> Iterator[Line]:
    """Driver and devices."""
    if not cuda:
        yield not_here("driver", "no GPU")
        yield not_here("devices", "no GPU")
        return
    import torch

    asked = subprocess.run(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], capture_output=True, text=True)
    found = re.match(r"(\d+)", asked.stdout)
    yield judged(
        "driver", bool(found) and int(found[1]) >= DRIVER, f"{asked.stdout.split() or asked.stderr} (R{DRIVER} or newer)"
    )
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    yield judged("devices", bool(names), ", ".join(names))


def engine_lines(config: Config, pairs: list[Pair], cuda: bool) -> Iterator[Line]:
    """Checks of one engine in this process, at lora.rank 64: its exports have ranks 128 and 256."""
    try:
        from actors.engines.vllm import VllmEngine
    except ImportError as error:
        for name in ("canary at version 0", "adapters of rank 128 and 256", "ten swaps", "a failed start says why"):
            yield not_here(name, f"no vLLM: {error}")
        return
    config = replace(config, lora=replace(config.lora, rank=64))
    learner = Learner(config, pairs)
    engine = VllmEngine(config, learner.canary_ids())
    engine.load(learner.publish())
    gap = engine.base_gap
    assert gap is not None
    yield judged(
        "canary at version 0", True, f"mean {gap.mean:.1e}, 95% of tokens within {gap.high:.1e} nats ({config.model.dtype})"
    )
    gaps = [engine.load(version) for version in moved(learner, 1)]
    yield judged("adapters of rank 128 and 256", True, f"canary gap {max(gaps):.1e} nats in the mean after a step")
    held = []
    for version in moved(learner, SWAPS):
        engine.load(version)
        held.append(used_bytes(cuda))
    growth = (held[-1] - held[2]) / 2**20
    yield judged("ten swaps", growth <= 64, f"memory {growth:+.1f} MiB from the third to the last")
    engine.close()
    yield failed_start(config, learner, VllmEngine)


def moved(learner: Learner, count: int) -> Iterator[AdapterVersion]:
    """Versions after small random steps of both blocks."""
    import torch

    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        with torch.no_grad():
            for p in learner.lora.parameters():
                p.add_((1e-3 * torch.randn(p.shape, generator=generator).sign()).to(p.device))
        learner.version += 1
        yield learner.publish()


def used_bytes(cuda: bool) -> int:
    """Memory of this machine's first GPU in use, or of this process on the CPU."""
    if cuda:
        import torch

        free, total = torch.cuda.mem_get_info()
        return total - free
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def failed_start(config: Config, learner: Learner, engine: EngineClass) -> Line:
    """An engine whose model has no weights must say so, where vLLM's core is a process of its own, as it is on a GPU."""
    with tempfile.TemporaryDirectory() as folder:
        for path in Path(config.model.path).iterdir():
            if path.suffix != ".safetensors":
                shutil.copy(path, folder)
        bare = replace(config, model=replace(config.model, path=folder))
        try:
            with patch.dict(os.environ, VLLM_ENABLE_V1_MULTIPROCESSING="1"):
                engine(bare, learner.canary_ids())
        except Exception as error:
            text = " ".join(str(error).split())
            return judged("a failed start says why", "weights" in text, text[:110])
    return judged("a failed start says why", False, "the engine started without weights")


def kill_lines(config: Config, pairs: list[Pair], cuda: bool) -> Iterator[Line]:
    """An engine actor under Ray is killed from outside: it is gone, and its memory free, within BACK_S."""
    from actors.ray_cluster.workers import start_workers
    from actors.rollouts.dataset import canary_of, load_dataset

    workers = start_workers(config, canary_of(load_dataset(config)), pairs=pairs)
    try:
        where, held = workers.whereabouts()["engine-0"], used_bytes(cuda)
        os.kill(where.pid, signal.SIGKILL)
        took = waited(lambda: not Path(f"/proc/{where.pid}").exists())
        yield judged("a killed engine is gone", took < BACK_S, f"after {took:.1f} s (at most {BACK_S:g})")
        if not cuda:
            yield not_here("its GPU memory is free again", "no GPU")
            return
        import torch

        part = config.runtime.engine_memory * torch.cuda.mem_get_info()[1] / 2  # most of what an engine takes is its cache
        took = waited(lambda: held - used_bytes(True) > part)
        found = f"{(held - used_bytes(True)) / 2**30:.1f} GiB back after {took:.1f} s (at most {BACK_S:g})"
        yield judged("its GPU memory is free again", took < BACK_S, found)
    finally:
        workers.close()


def waited(done: Callable[[], bool]) -> float:
    """Seconds until `done`, BACK_S at most."""
    started = time.monotonic()
    while not done() and time.monotonic() - started < BACK_S:
        time.sleep(0.2)
    return time.monotonic() - started
