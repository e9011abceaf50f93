"""What only needs the frozen base: c-probes at the initial policy and the KL reference, from one forward pass, kept by rollout.

Invariant: the numbers of a rollout depend on its group alone (a chunk never mixes groups), so an update gets the same bytes
whether they were computed ahead of it, group by group in any order, or inside it.
Shapes: G rollouts, M modules, R rank of one block, N completion tokens of one rollout.
"""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import groupby

import torch
from torch import Tensor
from transformers import PreTrainedModel

from learner import side_by_side
from learner.cprobe import probe_packed
from learner.data_parallel import SOLO, Team
from learner.lora2r import Lora2r, Policy
from learner.packing import logprobs_C, pack
from learner.work import chunks
from vgrout.records import Sample

WATCH_EVERY = 192  # rollouts of the run; with 96, updates of 48 took 2.3% longer (median of 30 pairs of updates)


@dataclass(frozen=True)
class FromBase:
    """Of one rollout: its c-probe at the initial policy, and its log-probabilities under the base, both on the CPU."""

    cgrad_MR: Tensor | None
    reference_N: Tensor | None


@dataclass
class FrozenBase:
    """Computes and keeps `FromBase` of rollouts until an update has used them."""

    model: PreTrainedModel
    lora: Lora2r
    wants_probe: bool
    wants_reference: bool  # the objective reads it; else it is only logged, of all rollouts where it costs no pass of its own
    temperature: float
    budget: int  # tokens of one forward pass
    share: bool = False  # the probe acts at completions alone
    team: Team = SOLO
    known: dict[str, tuple[Future[list[FromBase]], int]] = field(default_factory=dict)  # by rollout: its chunk, its place there

    def prepare(self, samples: Sequence[Sample]) -> None:
        """Begin what is missing of `samples`, whole groups; with several learners each does its groups."""
        if not (self.wants_probe or self.wants_reference):
            return
        missing = [s for s in samples if s.rollout_id not in self.known and self.team.owns(s.group)]
        for _, group in groupby(sorted(missing, key=lambda s: (s.group, s.rollout_id)), key=lambda s: s.group):
            whole = list(group)
            for rows in chunks(whole, self.budget):
                chunk = [whole[i] for i in rows]
                begun = side_by_side.begin(self._measure, chunk)
                self.known.update((s.rollout_id, (begun, place)) for place, s in enumerate(chunk))

    def take(self, samples: Sequence[Sample], version: int = 0) -> list[FromBase]:
        """What the base says of `samples`, in order, on every learner; then it is forgotten. `version`: updates done before."""
        if not (self.wants_probe or self.wants_reference):
            return self._watched(samples, version)
        self.prepare(samples)
        nothing = FromBase(None, None)
        begun = {s.rollout_id: self.known.pop(s.rollout_id) for s in samples if s.rollout_id in self.known}
        mine = {name: chunk.result()[place] for name, (chunk, place) in begun.items()}
        for old in list(self.known)[: -8 * len(samples)]:  # of rollouts that no update took
            del self.known[old]
        every = self.team.merged(mine)
        return [every.get(s.rollout_id, nothing) for s in samples]

    def forget(self) -> None:
        """Drop what was computed ahead."""
        self.known.clear()

    def _watched(self, samples: Sequence[Sample], version: int) -> list[FromBase]:
        """The reference of one rollout in WATCH_EVERY, counted over updates of this size, for the log alone."""
        first = -version * len(samples) % WATCH_EVERY
        mine = {i: samples[i] for i in range(first, len(samples), WATCH_EVERY) if self.team.owns(samples[i].group)}
        if first >= len(samples):
            return [FromBase(None, None)] * len(samples)
        few = list(mine.values())
        measured = [m for rows in chunks(few, self.budget) for m in self._measure([few[i] for i in rows])]
        every = self.team.merged(dict(zip(map(str, mine), measured, strict=True)))
        return [every.get(str(i), FromBase(None, None)) for i in range(len(samples))]

    def _measure(self, chunk: list[Sample]) -> list[FromBase]:
        packing = pack(chunk, self.lora.device, share=self.share or not self.wants_probe)
        if self.wants_probe:
            cgrad_GMR, reference_C = probe_packed(self.model, self.lora, packing, initial=True, temperature=self.temperature)
            probes: list[Tensor | None] = list(cgrad_GMR)
        else:
            with torch.no_grad(), self.lora.policy(Policy.BASE):
                reference_C = logprobs_C(self.model, packing, self.temperature).cpu()
            probes = [None] * len(chunk)
        return [FromBase(p, r) for p, r in zip(probes, reference_C.split(packing.lengths), strict=True)]
