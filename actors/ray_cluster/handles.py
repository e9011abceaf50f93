"""Typed handles of an engine, a grader and the learner: each method names its arguments and the type of its value.

Invariant: a handle only passes calls on. Only its target knows whether the worker is an object, an actor or a team.
"""

from dataclasses import dataclass

from actors.engines.protocol import Compared, Group, Slice
from actors.ray_cluster.calls import Pending, Target
from vgrout.records import AdapterVersion, Audit, GateLabel, GradeJob, Reward, Rollout, Sample, SampleRequest, UpdateResult


@dataclass(frozen=True)
class EngineHandle:
    """An engine (actors/engines/vllm.py or hf.py)."""

    target: Target

    def load(self, adapter: Pending[AdapterVersion]) -> Pending[float]:
        """Serve a version from now on; the canary's gap."""
        return self.target.call("load", adapter)

    def generate(self, requests: list[SampleRequest]) -> Pending[list[Rollout]]:
        """Sample requests to their end."""
        return self.target.call("generate", requests)

    def compare(self, adapters: list[AdapterVersion], requests: list[SampleRequest], slice_s: float) -> Pending[Compared]:
        """Sample the same requests with several versions for `slice_s` seconds; without versions, go on with them."""
        return self.target.call("compare", adapters, requests, slice_s)

    def advance(self, groups: list[Group], slice_s: float) -> Pending[Slice]:
        """Add groups and sample for `slice_s` seconds; returns which groups are finished or given up."""
        return self.target.call("advance", groups, slice_s)

    def clear(self) -> Pending[None]:
        """Give up what is being sampled."""
        return self.target.call("clear")

    def close(self) -> Pending[None]:
        """Clean up before the end."""
        return self.target.call("close")


@dataclass(frozen=True)
class GraderHandle:
    """A grader."""

    target: Target

    def grade(self, jobs: list[GradeJob]) -> Pending[list[tuple[Reward, Audit]]]:
        """Grade jobs, in order."""
        return self.target.call("grade", jobs)

    def close(self) -> Pending[None]:
        """End the processes that run programs."""
        return self.target.call("close")


@dataclass(frozen=True)
class LearnerHandle:
    """The learner: one actor, several that work as one, or an object in this process."""

    target: Target

    def update(self, samples: list[Sample], given: dict[str, GateLabel] | None = None) -> Pending[UpdateResult]:
        """Train on a batch. `given`: the labels that a relaxed comparator was told."""
        return self.target.call("update", samples, given)

    def prepare(self, samples: list[Sample]) -> Pending[None]:
        """Compute what follows from the tokens of whole groups and the weights as they are, ahead of their update."""
        return self.target.call("prepare", samples)

    def publish(self) -> Pending[AdapterVersion]:
        """The current version, for engines to load."""
        return self.target.call("publish")

    def publish_signed(self) -> tuple[Pending[AdapterVersion], Pending[int]]:
        """The current version and its number, apart, so that the driver can wait for the number without the bytes. Ray only."""
        adapter, number = self.target.actors[0].call.options(num_returns=2).remote("publish_signed")
        return Pending(adapter), Pending(number)

    def checkpoint(self) -> Pending[tuple[bytes, bytes]]:
        """The two files of a checkpoint."""
        return self.target.call("checkpoint")

    def restore(self, adapter: bytes, optimizer: bytes) -> Pending[None]:
        """Go back to a checkpoint's two files."""
        return self.target.call("restore", adapter, optimizer)

    def initial_digest(self) -> Pending[str]:
        """SHA-256 of A0 and B0."""
        return self.target.call("initial_digest")
