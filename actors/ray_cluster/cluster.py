"""The Ray cluster of a run: connected, checked, and reserved by placement groups before any actor starts.

Invariant: what is not available (an address where no Ray answers, too few CPUs or GPUs, GPUs that are scattered over nodes) is
one UserError within `runtime.reserve_s`; after `reserve` every actor has its place, and `release` gives everything back.
"""

import contextlib
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import ray
from ray.exceptions import RayError
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors.planning.placement import GRADER_CPUS, Placement, Seat, grader_bundle, place
from actors.ray_cluster.bare_ray import bare
from vgrout.config import Config
from vgrout.errors import UserError
from vgrout.rows import Row

ANSWER_S = 10  # for a Ray head to answer at its address; without this check `ray.init` retries for 163 s and then exits
AUTOSCALED_S = 40  # a run that waits longer than this for room may find a cluster that has yet to grow
CODE = Path(__file__).resolve().parents[2]
LONGEST_FOLDER = 38  # bytes; below it come 69 of `ray/session_<time>_<pid>/sockets/plasma_store`
STARTS = 3  # attempts to start a Ray here


def check_address(address: str, where: str) -> None:
    """Raise UserError where nothing that speaks gRPC answers at `address` (host:port; other forms are Ray's to judge)."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (colon and host and port.isdigit()) or os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
        return
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=ANSWER_S)
        except grpc.FutureTimeoutError:
            found = f"{address} (no Ray answered there within {ANSWER_S} s)"
            raise UserError(where, found, "the address of a running Ray, as `ray start` prints it") from None


def join(address: str, where: str, **options: Any) -> None:
    """`ray.init` at `address`; "local" starts a Ray of this process's own, even where another one runs on this machine.

    Raises UserError where it cannot be reached.
    """
    check_address(address, where)
    try:
        # Ray puts the driver's working directory before everything else on the path of every worker. A user's own `learner.py`
        # there would hide ours, so while Ray starts, the working directory is the folder that our code is imported from.
        with contextlib.chdir(CODE):
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except (ConnectionError, RayError, ValueError) as error:
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(where, f"{address} ({first})", "the address of a running Ray cluster") from None


def connect(config: Config) -> None:
    """Join the Ray cluster of RAY_ADDRESS (as under `ray job submit`), or start one here. Raises UserError if it is short."""
    if not ray.is_initialized():
        if address := os.environ.get("RAY_ADDRESS"):  # an empty one counts as unset
            join(address, "RAY_ADDRESS")
        else:
            # Shares of a core are bookkeeping: a small machine runs what it is asked to, only slower.
            cpus = max(os.cpu_count() or 1, int(_need(config)["CPU"]) + 1)
            check_resources(config, {"CPU": cpus, "GPU": _gpus(config)}, "on this machine")  # before the wait for Ray
            _start(cpus)
    if config.runtime.reserve_s <= AUTOSCALED_S:
        check_resources(config, ray.cluster_resources(), "in the Ray cluster")


def _gpus(config: Config) -> int:
    """GPUs of this machine; 0 without a look where the run needs none, because torch takes a second to import."""
    if not _need(config)["GPU"]:
        return 0
    import torch

    return torch.cuda.device_count()


def _start(cpus: int) -> None:
    """A Ray of this process's own. Ray gives its node 30 s to come up, which a busy machine can miss: tried STARTS times."""
    folder = folder_for_sockets()
    for attempt in range(1, STARTS + 1):
        try:
            with bare():
                return join("local", "ray", include_dashboard=False, num_cpus=cpus, _temp_dir=folder)
        except Exception as error:  # Ray raises no class of its own for this
            if "timed out during startup" not in str(error):
                raise
            ray.shutdown()
            print(f"vgrout: Ray did not come up in time (attempt {attempt} of {STARTS})", file=sys.stderr, flush=True)
    raise UserError("ray", f"no node came up in {STARTS} attempts", "a machine that is less busy, or RAY_ADDRESS of a cluster")


def folder_for_sockets() -> str | None:
    """Where a Ray of this process's own puts its files, where its usual place will not do: /tmp/ray instead of a long TMPDIR.

    Linux allows 107 bytes for the path of a socket, and Ray's lie deep below its folder. The scratch folder that a batch system
    gives a job is often longer. Raises UserError for a long RAY_TMPDIR, which somebody has asked for.
    """
    for name in ("RAY_TMPDIR", "TMPDIR"):  # as Ray looks for it
        folder = os.environ.get(name)
        if folder is None:
            continue
        size = len(os.fsencode(folder))
        if size <= LONGEST_FOLDER:
            return None
        if name == "RAY_TMPDIR":
            raise UserError(name, f"a path of {size} bytes", f"at most {LONGEST_FOLDER}, since Ray puts sockets below it")
        return "/tmp/ray"
    return None


def _need(config: Config) -> dict[str, float]:
    placement = place(config)
    cpus = sum(cpus for cpus, _ in placement.bundles) + grader_bundle(config.runtime)
    return {"CPU": cpus, "GPU": placement.gpus}


def check_resources(config: Config, have: Mapping[str, float], where: str) -> None:
    """Raise UserError where there are fewer CPUs or GPUs in all than the actors reserve (graders: those of one node)."""
    for name, need in _need(config).items():
        found = have.get(name, 0)
        if need > found:
            raise UserError(f"runtime: {name}s", f"{found:g} {where}", f"at least {need:g} for the configured actors")


@dataclass(frozen=True)
class Reserved:
    """The placement groups of a run and its seats; `nodes` have graders."""

    placement: Placement
    group: PlacementGroup
    grading: PlacementGroup
    nodes: int

    def options(self, seat: Seat) -> Row:
        """Ray options that place an actor in its bundle."""
        strategy = PlacementGroupSchedulingStrategy(self.group, placement_group_bundle_index=seat.bundle)
        return {"num_cpus": seat.cpus, "num_gpus": seat.gpus, "scheduling_strategy": strategy}

    def grader_options(self, number: int) -> Row:
        """Ray options of grader `number`: one node after the other."""
        strategy = PlacementGroupSchedulingStrategy(self.grading, placement_group_bundle_index=number % self.nodes)
        return {"num_cpus": GRADER_CPUS, "scheduling_strategy": strategy}

    def release(self) -> None:
        """Give all bundles back; actors that are still in them end."""
        remove_placement_group(self.group)
        remove_placement_group(self.grading)


def reserve(config: Config, *, learners: bool = True) -> Reserved:
    """Reserve a bundle per `actors.planning.placement` and one grader bundle on every node that has room. Raises UserError.

    `learners` False (an evaluation): the bundles are the same without the learners' seats.
    """
    placement = place(config)
    if not learners:
        seats = placement.of("engine")
        kept = sorted({seat.bundle for seat in seats})
        moved = tuple(Seat(s.role, s.number, s.cpus, s.gpus, kept.index(s.bundle)) for s in seats)
        placement = Placement(tuple(placement.bundles[b] for b in kept), moved)
    strategy = "SPREAD" if config.runtime.placement == "spread" else "PACK"
    group = placement_group([_resources(cpus, gpus) for cpus, gpus in placement.bundles], strategy=strategy)
    share = grader_bundle(config.runtime)
    try:
        expected = f"{[_resources(*b) for b in placement.bundles]}, a bundle on one node each"
        _wait(group, config.runtime.reserve_s, "runtime: engines and learners", expected)
        nodes = max(1, sum(node["Alive"] and node["Resources"].get("CPU", 0) >= share for node in ray.nodes()))
        grading = placement_group([{"CPU": share}] * nodes, strategy="SPREAD")
    except UserError:
        remove_placement_group(group)
        raise
    try:
        _wait(grading, config.runtime.reserve_s, "runtime.graders", f"{share:g} free CPUs on each of {nodes} nodes")
    except UserError:
        remove_placement_group(group)
        remove_placement_group(grading)
        raise
    return Reserved(placement, group, grading, nodes)


def _resources(cpus: float, gpus: int) -> dict[str, float]:
    return {"CPU": cpus, "GPU": gpus} if gpus else {"CPU": cpus}


def _wait(group: PlacementGroup, seconds: float, where: str, expected: str) -> None:
    if not group.wait(seconds):
        free = {k: v for k, v in ray.available_resources().items() if k in ("CPU", "GPU")}
        found = f"no room within {seconds:g} s (free in all: {free or 'nothing'})"
        raise UserError(where, found, expected)
