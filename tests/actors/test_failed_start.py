"""A constructor that fails inside a real Ray actor: its own words reach the user, nothing is tried again, no folder is left."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from vgrout.errors import UserError

pytestmark = pytest.mark.cluster
TINY = Path(__file__).parents[2] / "configs/tiny.toml"


class BadInput:
    def __init__(self):
        raise UserError("file.jsonl:3", "a b: found c; expected d", "e")


class Bug:
    def __init__(self):
        raise KeyError("a layer's name")


class Good:
    pass


@pytest.fixture(scope="module")
def cluster():
    import ray
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test
    ray.init("local", num_cpus=4, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()


@pytest.mark.parametrize("name", ["learner", "engine-1", "grader-0"])
@pytest.mark.parametrize(("kind", "raised"), [(BadInput, "UserError"), (Bug, "StartFailed")])
def test_the_words_of_a_failed_constructor_arrive_once(cluster, name, kind, raised):
    from actors.ray_cluster.calls import OneActor
    from actors.ray_cluster.part import Part, kind_of
    from actors.ray_cluster.workers import Workers

    workers, made = Workers(), []

    def start(part):
        made.append(part)
        return OneActor(cluster.remote(Part).remote({}, kind_of(kind if part == name else Good)))

    workers.add_learner(lambda: start("learner"))
    for part in ("engine-0", "engine-1"):
        workers.add_engine(lambda part=part: start(part))
    workers.add_grader(lambda: start("grader-0"))
    with pytest.raises(Exception) as caught:
        workers.wait_for_start()
    assert type(caught.value).__name__ == raised
    if kind is BadInput:
        assert str(caught.value) == "file.jsonl:3: found a b: found c; expected d; expected e"
    else:
        assert str(caught.value) == 'KeyError: "a layer\'s name"'
    assert len(made) == 4
    workers.abandon()


def test_a_base_that_cannot_be_loaded_is_one_message_and_no_folder(tmp_path):
    """Its files are whole and of the right shapes, so that only who loads the weights can tell: in an actor."""
    model, out, lost = tmp_path / "model", tmp_path / "a" / "run", "model.layers.2.self_attn.k_norm.weight"
    shutil.copytree(TINY.parent / "tiny/model", model)
    weights = load_file(model / "model.safetensors")
    del weights[lost]
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    command = [sys.executable, "-m", "vgrout_cli.main", "train", str(TINY), "--out", str(out)]
    command += ["--set", "runtime.engine=hf", "--set", f"model.path={model}"]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 2, done.stderr
    (line,) = [text for text in done.stderr.splitlines() if text.startswith("vgrout:")]
    assert "model.path" in line and lost in line, line
    assert not out.parent.exists()
