"""A learner and a real vLLM engine on the shipped tiny model, in this process."""

import os
from pathlib import Path

from actors.ray_cluster.environment import CPU_ENGINE

os.environ.update(CPU_ENGINE)  # before torch and vllm are imported

import pytest

from vgrout import pairs
from vgrout.config import Config, load

SMALL = [
    "runtime.backend=local",
    "runtime.learner_threads=1",
    "runtime.graders=1",
    "runtime.kv_cache_mib=64",
    "rollout.prompts=3",
    "rollout.samples=4",
    "train.updates=2",
    "train.checkpoint_every=1",
    "optim.warmup=1",
    "eval.samples=1",
]


@pytest.fixture(scope="session")
def config() -> Config:
    return load(Path("configs/tiny.toml"), arm="routev", seed=3, sets=SMALL)


@pytest.fixture(scope="session")
def learner(config):
    from learner.learner import Learner

    return Learner(config, pairs.load(Path(config.data.pairs)))


@pytest.fixture(scope="session")
def engine(config, learner):
    from actors.engines.vllm import VllmEngine

    engine = VllmEngine(config, learner.canary_ids())
    engine.load(learner.publish())
    yield engine
    engine.close()
