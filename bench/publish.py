"""What publishing a version costs, stage by stage: the learner makes it, it is pickled, an engine checks and loads it.

    python -m bench.publish --out out/bench [--rounds 5] [--short]
    python -m bench.publish --out out/bench --layers 12      # Qwen3-4B's shape in bfloat16 with a third of its layers

`learner: all` and `engine: all` are the real calls; the other rows are what they are made of, measured by themselves. The
engine is vLLM on the tiny model (`--short`: the Hugging Face engine). With `--layers`, weights are random, adapters of rank 32
take a random step instead of an update, and 10 GB of memory are needed.
"""

import contextlib
import os
import pickle
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from actors.ray_cluster.environment import CPU_ENGINE
from bench.measure import Series, run_part
from vgrout import pairs
from vgrout.config import Config, load
from vgrout.files import sha256
from vgrout.records import Sampling

ROOT = Path(__file__).parents[1]
PART = "publish"
WIDE = ["runtime.backend=local", "runtime.learner_gpus=0", "runtime.engine_gpus=0", "runtime.learner_threads=2",
        "runtime.kv_cache_mib=256", "runtime.max_num_seqs=4", "rollout.prompt_limit=512",
        "rollout.max_new_tokens=64"]  # fmt: skip


@contextlib.contextmanager
def setting(layers: int | None) -> Iterator[Config]:
    """The tiny preset, or the fast preset on random weights of Qwen3-4B's shape with `layers` layers."""
    if layers is None:
        yield load(ROOT / "configs/tiny.toml", arm="routev", sets=["runtime.backend=local"])
        return
    from actors.planning.model_shape import read_config
    from bench.memory import cut, random_base

    with random_base(cut(read_config("Qwen/Qwen3-4B"), layers), "bfloat16", "cpu") as folder:
        yield load(ROOT / "configs/qwen3-4b-fast.toml", arm="routev", sets=[*WIDE, f"model.path={folder}"])


def measure(rounds: int, short: bool, layers: int | None = None) -> list[Series]:
    """Milliseconds of every stage."""
    for name, value in CPU_ENGINE.items():
        os.environ.setdefault(name, value)
    with setting(layers) as config:
        return _stages(config, rounds, short)


def _stages(config: Config, rounds: int, short: bool) -> list[Series]:
    from actors.acceptance import moved
    from learner.learner import Learner

    if short:
        from actors.engines.hf import HfEngine as Engine
    else:
        from actors.engines.vllm import VllmEngine as Engine
    learner = Learner(config, pairs.load(ROOT / "configs/tiny/pairs.jsonl")[:8])
    engine, taken = Engine(config, learner.canary_ids()), defaultdict(list)
    versions = moved(learner, rounds + 1)
    for turn in range(-1, rounds):  # the first round warms up
        next(versions)
        laps = {}
        began = time.perf_counter()
        version = learner.publish()
        laps["learner: all"] = time.perf_counter() - began
        began = time.perf_counter()
        digest = sha256(version.train, version.deploy)
        laps["digest of both exports"] = time.perf_counter() - began
        assert digest == version.digest
        began = time.perf_counter()
        whole = pickle.loads(pickle.dumps(version, protocol=5))
        laps["pickle and back"] = time.perf_counter() - began
        began = time.perf_counter()
        engine.load(whole)
        laps["engine: all"] = time.perf_counter() - began
        if not short and engine.served is not None:
            began = time.perf_counter()
            for sampling in Sampling:
                engine._canary_gap(engine.served, whole, sampling)
            laps["engine: its two canaries"] = time.perf_counter() - began
        began = time.perf_counter()
        learner.checkpoint()
        laps["checkpoint of a published version"] = time.perf_counter() - began
        for name, seconds in laps.items():
            if turn >= 0:
                taken[name].append(1000 * seconds)
    if not short:
        engine.close()
    size = len(version.train) + len(version.deploy)
    found = [Series(PART, name, "ms", tuple(values)) for name, values in taken.items()]
    return [*found, Series(PART, "bytes of a version", "bytes", (float(size),))]


if __name__ == "__main__":
    run_part("publish", measure, __doc__, numbers=["layers"])
