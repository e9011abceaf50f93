"""Trackers beside metrics.jsonl: TensorBoard, W&B, MLflow, trackio, Prometheus through Ray. Each is given lines of metrics.

Invariant: a tracker runs in a thread of its own and gets a copy of each line; whatever it does, the run goes on: one that fails
is named once and left out. metrics.jsonl has everything, with or without trackers.
"""

import importlib.util
import math
import os
import queue
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from vgrout.errors import UserError
from vgrout.resumed_config import flat
from vgrout.rows import Row
from vgrout.run_directory import RunDir

Write = Callable[[int, dict[str, float]], object]  # (update, its numbers)
PROJECT = "vgrout"
CLOSE_S = 30.0  # for trackers to send what they have when the run ends


@contextmanager
def tensorboard(run: RunDir) -> Iterator[Write]:
    """Event files in RUN/tensorboard."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(run.path / "tensorboard")) as writer:
        yield lambda update, numbers: [writer.add_scalar(name, value, update) for name, value in numbers.items()]


@contextmanager
def wandb(run: RunDir) -> Iterator[Write]:
    """A run of Weights & Biases; WANDB_PROJECT and WANDB_MODE are read as everywhere."""
    import wandb  # pyright: ignore[reportMissingImports]

    project = os.environ.get("WANDB_PROJECT", PROJECT)
    with wandb.init(project=project, name=run.path.name, dir=str(run.path), config=flat(run.about()["config"])) as tracked:
        yield lambda update, numbers: tracked.log(numbers, step=update)


@contextmanager
def mlflow(run: RunDir) -> Iterator[Write]:
    """A run of MLflow in the experiment `vgrout`; MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME are read as everywhere."""
    import mlflow  # pyright: ignore[reportMissingImports]

    mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT))
    with mlflow.start_run(run_name=run.path.name):
        mlflow.log_params({name: str(value)[:500] for name, value in flat(run.about()["config"]).items()})
        yield lambda update, numbers: mlflow.log_metrics(numbers, step=update)


@contextmanager
def trackio(run: RunDir) -> Iterator[Write]:
    """A run of trackio, on this machine (TRACKIO_DIR) unless its own variables say otherwise."""
    import trackio  # pyright: ignore[reportMissingImports]

    trackio.init(project=PROJECT, name=run.path.name, config=flat(run.about()["config"]), embed=False)
    try:
        yield lambda update, numbers: trackio.log(numbers, step=update)
    finally:
        trackio.finish()


@contextmanager
def prometheus(run: RunDir) -> Iterator[Write]:
    """Gauges of Ray's own metrics endpoints, which Prometheus scrapes as ray_<name> (deploy/grafana.json shows them)."""
    from ray.util.metrics import Gauge

    config = run.config()
    labels = {"run": run.path.name, "arm": config.arm, "seed": str(config.seed)}
    gauges: dict[str, Gauge] = {}

    def write(_update: int, numbers: dict[str, float]) -> None:
        for name, value in numbers.items():
            if name not in gauges:
                gauges[name] = Gauge(gauge_name(name), description=f"{name} of the last update", tag_keys=tuple(labels))
                gauges[name].set_default_tags(labels)
            gauges[name].set(value)

    yield write


def gauge_name(metric: str) -> str:
    """A metric's name as Prometheus allows it: rate/hack is vgrout_rate_hack."""
    return f"{PROJECT}_" + re.sub(r"\W", "_", metric)


SINKS = {"tensorboard": tensorboard, "wandb": wandb, "mlflow": mlflow, "trackio": trackio, "prometheus": prometheus}
PACKAGES = {"prometheus": "ray"}  # where it has another name than the tracker


def chosen(names: Sequence[str] | None) -> list[str]:
    """The trackers to write to: those named, or TensorBoard where it is installed. Raises UserError where a named one is not."""
    if names is None:
        return ["tensorboard"] if _installed("tensorboard") else []
    for name in names:
        package = PACKAGES.get(name, name)
        if name != "none" and not _installed(package):
            raise UserError(f"--log {name}", "no such package in this Python", f"pip install {package}")
    return [name for name in dict.fromkeys(names) if name != "none"]


def _installed(name: str) -> bool:
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None  # not just a folder of that name, as W&B and MLflow leave them


@contextmanager
def trackers(run: RunDir, names: Sequence[str]) -> Iterator[None]:
    """While this is open, every line of metrics that the run records goes to these trackers, each in its own thread."""
    started = [_start(run, name) for name in names]
    run.listeners += [lines.put for lines, _ in started]
    try:
        yield
    finally:
        run.listeners = []
        for lines, _ in started:
            lines.put(None)
        deadline = time.monotonic() + CLOSE_S
        for (_, thread), name in zip(started, names, strict=True):
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                _warn(name, f"not done {CLOSE_S:.0f} s after the run's end")


def _start(run: RunDir, name: str) -> "tuple[queue.SimpleQueue[Row | None], threading.Thread]":
    lines: queue.SimpleQueue[Row | None] = queue.SimpleQueue()

    def work() -> None:
        row = lines.get()  # imported and opened when there is something to write, so that no start waits for it
        try:
            if row is not None:
                with SINKS[name](run) as write:
                    while row is not None:
                        write(row["update"], numbers(row))
                        row = lines.get()
        except Exception as error:  # whatever a tracker raises: it must not end the run
            _warn(name, f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=work, name=f"log-{name}", daemon=True)
    thread.start()
    return lines, thread


def _warn(name: str, why: str) -> None:
    print(f"vgrout: --log {name} failed, and the run goes on without it: {why}", file=sys.stderr, flush=True)


def numbers(row: Row) -> dict[str, float]:
    """The finite numbers of a line of metrics; those inside an object are called `object/name`."""
    found: dict[str, float] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            found |= {f"{name}/{inner}": number for inner, number in numbers(value).items()}
        elif isinstance(value, int | float) and math.isfinite(value):
            found[name] = float(value)
    return found
