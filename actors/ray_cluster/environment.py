"""Environment variables that vLLM and OpenMP read when they are first imported; set before torch comes in.

Invariant: a VLLM_ variable that the user has set wins; without Ray every one does. Usage statistics are off everywhere.
"""

import os

from vgrout import template_date
from vgrout.config import Config

# One thread per engine process: spinning OpenMP threads cost more than a second thread gains (2.5 s against 8 to 33 s).
# The sampler's compiled ops need g++ and 13 s on a cold cache; the CPU runs eagerly with LoRA anyway.
CPU_ENGINE = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "TORCH_COMPILE_DISABLE": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
}


def engine_environment(config: Config) -> dict[str, str]:
    """Variables for a process that runs an engine."""
    if config.runtime.engine_gpus == 0:
        return CPU_ENGINE
    return {"VLLM_NO_USAGE_STATS": "1", **({"VLLM_BATCH_INVARIANT": "1"} if config.runtime.deterministic else {})}


def learner_environment(config: Config) -> dict[str, str]:
    """Variables for a learner on a GPU: what its allocator frees can be used again in any size; cuBLAS sums in one order."""
    if config.runtime.learner_gpus == 0:
        return {}
    fixed = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"} if config.runtime.deterministic else {}
    return {"PYTORCH_ALLOC_CONF": "expandable_segments:True", **fixed}


def actor_environment(config: Config, role: str) -> dict[str, str]:
    """Variables of a Ray actor by its role: "engine", "learner" or "grader". Those of the job reach every actor as well."""
    date = {name: os.environ[name] for name in (template_date.VARIABLE,) if name in os.environ}
    if role == "engine":
        ours = engine_environment(config)
        kept = {name: os.environ.get(name, value) if name.startswith("VLLM_") else value for name, value in ours.items()}
        return {**date, **kept, **hidden_gpus(config.runtime.engine_gpus)}
    threads, booked = (config.runtime.learner_threads, config.runtime.learner_gpus) if role == "learner" else (1, 0.0)
    ours = learner_environment(config) if role == "learner" else {}
    return {**date, **ours, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", **hidden_gpus(booked)}


def hidden_gpus(booked: float) -> dict[str, str]:
    """Hide every GPU from an actor that reserved none: Ray 2.60 shows it all of them."""
    return {} if booked else {"CUDA_VISIBLE_DEVICES": ""}


def prepare(config: Config) -> None:
    """Set the variables of everything that will run in this process. Call before importing actors or torch."""
    if config.runtime.backend == "local":
        for name, value in {**learner_environment(config), **engine_environment(config)}.items():
            os.environ.setdefault(name, value)
