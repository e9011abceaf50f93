"""Placement groups on a real Ray of three nodes, and what a cluster that cannot be had says, in time."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from vgrout.config import load
from vgrout.errors import UserError

pytestmark = pytest.mark.cluster
TINY = Path("configs/tiny.toml")


def silent():
    """A port that takes connections and never answers."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener, f"127.0.0.1:{listener.getsockname()[1]}"


def test_an_address_without_a_ray_is_one_message_within_a_minute(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    command = [sys.executable, "-m", "vgrout_cli.main", "train", str(TINY), "--out", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and not (tmp_path / "run").exists()
    (line,) = [text for text in done.stderr.splitlines() if text.startswith("vgrout:")]
    assert "RAY_ADDRESS" in line
    assert "127.0.0.1:1" in line
    assert "expected" in line


@pytest.mark.parametrize("kind", ["silent", "unknown host", "dashboard", "not an address"])
def test_other_addresses_without_a_ray(kind, monkeypatch):
    from actors.ray_cluster import cluster

    monkeypatch.setattr(cluster, "ANSWER_S", 2)
    listener, silent_port = silent()
    addresses = {"silent": silent_port, "unknown host": "nosuchhost.invalid:6379", "dashboard": "http://127.0.0.1:8265"}
    with pytest.raises(UserError, match="RAY_ADDRESS"):
        cluster.join(addresses.get(kind, "somewhere"), "RAY_ADDRESS")
    listener.close()


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({}, None),
        ({"TMPDIR": "/scratch/" + "j" * 29}, None),
        ({"TMPDIR": "/scratch/" + "j" * 30}, "/tmp/ray"),
        ({"TMPDIR": "/scratch/" + "é" * 20}, "/tmp/ray"),
        ({"TMPDIR": "/scratch/" + "j" * 90, "RAY_TMPDIR": "/tmp"}, None),
    ],
)
def test_a_long_temporary_folder_is_no_place_for_sockets(variables, folder, monkeypatch):
    from actors.ray_cluster.cluster import folder_for_sockets

    for name in ("TMPDIR", "RAY_TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert folder_for_sockets() == folder
    monkeypatch.setenv("RAY_TMPDIR", "/tmp/" + "r" * 40)
    with pytest.raises(UserError, match="RAY_TMPDIR: found a path of 45 bytes; expected at most 38"):
        folder_for_sockets()


def test_too_few_gpus_on_this_machine(tmp_path, capsys, monkeypatch):
    """Without a cluster this machine decides, before a Ray is started."""
    import ray

    from vgrout_cli.main import main

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert (
        main(
            [
                "train",
                str(TINY),
                "--out",
                str(tmp_path / "run"),
                "--set",
                "runtime.engine_gpus=1",
                "--set",
                "model.dtype=bfloat16",
            ]
        )
        == 2
    )
    (line,) = [text for text in capsys.readouterr().err.splitlines() if text.startswith("vgrout:")]
    assert "runtime: GPUs" in line
    assert "0 on this machine" in line
    assert "at least 1" in line
    assert not ray.is_initialized() and not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def three_nodes():
    """Three nodes of one CPU each, the second and third with one (pretended) GPU."""
    import ray
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "num_gpus": 0})
        try:
            for _ in range(2):
                cluster.add_node(num_cpus=1, num_gpus=1)
            cluster.wait_for_nodes()
            ray.init(address=cluster.address, log_to_driver=False)
            yield ray
        finally:
            ray.shutdown()
            cluster.shutdown()


def config(*sets):
    return load(TINY, sets=["runtime.graders=2", *sets])


def nodes_of(ray, reserved, options):
    """The node that an actor with each of these options lands on, and the GPUs that it sees."""

    @ray.remote
    class Where:
        def at(self):
            return ray.get_runtime_context().get_node_id(), ray.get_gpu_ids()

    actors = [Where.options(**o).remote() for o in options]
    return ray.get([a.at.remote() for a in actors]), actors


def test_spread_engines_and_graders_of_every_node(three_nodes):
    from actors.ray_cluster.cluster import reserve

    reserved = reserve(config("runtime.engines=2", "runtime.placement=spread"))
    seats = reserved.placement.seats
    options = [reserved.options(s) for s in seats] + [reserved.grader_options(n) for n in range(2 * reserved.nodes)]
    places, _actors = nodes_of(three_nodes, reserved, options)
    nodes = [node for node, _ in places]
    assert len(set(nodes[:3])) == 3  # learner and both engines
    assert reserved.nodes == 3 and sorted(nodes[3:].count(n) for n in set(nodes)) == [2, 2, 2]
    reserved.release()


def test_a_learner_and_an_engine_share_a_gpu_and_a_second_engine_takes_the_other(three_nodes):
    from actors.ray_cluster.cluster import reserve

    sets = ["runtime.engines=2", "runtime.learner_gpus=0.5", "runtime.engine_gpus=0.5"]
    reserved = reserve(config(*sets))
    assert reserved.placement.bundles == ((1.0, 1), (0.5, 1))
    places, _actors = nodes_of(three_nodes, reserved, [reserved.options(s) for s in reserved.placement.seats])
    (learner, on), (first, same), (second, other) = places
    assert learner == first != second
    assert on == same
    assert len(other) == 1
    reserved.release()


def test_reserved_bundles_come_back(three_nodes):
    from actors.ray_cluster.cluster import reserve

    for _ in range(3):
        reserve(config("runtime.learner_gpus=1", "runtime.engine_gpus=1")).release()


def test_too_few_gpus_and_gpus_scattered_over_nodes_are_one_message(three_nodes):
    from actors.ray_cluster import cluster

    with pytest.raises(UserError, match=r"runtime: GPUs.*2 in the Ray cluster.*at least 3"):
        cluster.connect(config("runtime.engines=3", "runtime.engine_gpus=1"))
    cluster.connect(config("runtime.engines=3", "runtime.engine_gpus=1", "runtime.reserve_s=60"))  # it may grow meanwhile
    scattered = config("runtime.engine_tp=2", "runtime.engine_gpus=1", "runtime.reserve_s=3")
    cluster.connect(scattered)
    with pytest.raises(UserError, match=r"no room within 3 s.*'GPU': 2"):
        cluster.reserve(scattered)
    cluster.reserve(config("runtime.learner_gpus=1", "runtime.engine_gpus=1")).release()  # the failed one left nothing
