"""What publishing a version costs, stage by stage: the learner makes it, it is pickled, an engine checks and loads it.

    python -m bench.publish --out out/bench [--rounds 5] [--short]

`learner: all` and `engine: all` are the real calls; the other rows are what they are made of, measured by themselves. The
engine is vLLM on the tiny model (`--short`: the Hugging Face engine).
"""

import dataclasses
import os
import pickle
import time
from collections import defaultdict
from pathlib import Path

from actors.ray_cluster.environment import CPU_ENGINE
from bench.measure import Series, run_part
from vgrout import pairs
from vgrout.config import load
from vgrout.files import sha256

ROOT = Path(__file__).parents[1]
PART = "publish"


def measure(rounds: int, short: bool) -> list[Series]:
    """Milliseconds of every stage."""
    for name, value in CPU_ENGINE.items():
        os.environ.setdefault(name, value)
    from bench.growth import Size, random_samples
    from learner.learner import Learner

    config = load(ROOT / "configs/tiny.toml", arm="routev", sets=["runtime.backend=local"])
    if short:
        from actors.engines.hf import HfEngine as Engine
    else:
        from actors.engines.vllm import VllmEngine as Engine
    learner = Learner(config, pairs.load(ROOT / "configs/tiny/pairs.jsonl")[:8])
    engine, taken = Engine(config, learner.canary_ids()), defaultdict(list)
    for turn in range(-1, rounds):  # the first round warms up
        samples = [dataclasses.replace(s, version=learner.version) for s in random_samples(Size(4, 2, 2), turn)]
        learner.update(samples)
        laps = {}
        began = time.perf_counter()
        version = learner.publish()
        laps["learner: all"] = time.perf_counter() - began
        began = time.perf_counter()
        digest = sha256(version.train + version.deploy)
        laps["digest of both exports"] = time.perf_counter() - began
        assert digest
        began = time.perf_counter()
        whole = pickle.loads(pickle.dumps(version, protocol=5))
        laps["pickle and back"] = time.perf_counter() - began
        began = time.perf_counter()
        engine.load(whole)
        laps["engine: all"] = time.perf_counter() - began
        for name, seconds in laps.items():
            if turn >= 0:
                taken[name].append(1000 * seconds)
    if not short:
        engine.close()
    size = len(version.train) + len(version.deploy)
    found = [Series(PART, name, "ms", tuple(values)) for name, values in taken.items()]
    return [*found, Series(PART, "bytes of a version", "bytes", (float(size),))]


if __name__ == "__main__":
    run_part("publish", measure, __doc__)
