"""What an update needs of a rollout that follows from its tokens and from the weights before the update, kept by rollout:
the c-probe, and log-probabilities under the base (the KL reference) and under the deployed block.

Invariant: the numbers of a rollout depend on its group and on the weights alone (a chunk never mixes groups), so an update gets
the same bytes whether they were computed ahead of it, group by group in any order, or inside it. What was computed at weights
that an update has changed is never used.
Shapes: G rollouts, M modules, R rank of one block, N completion tokens of one rollout.
"""

from collections.abc import Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from itertools import groupby

import torch
from torch import Tensor
from transformers import PreTrainedModel

from learner import side_by_side
from learner.cprobe import probe_packed
from learner.data_parallel import SOLO, Team
from learner.density import Density
from learner.lora2r import Lora2r, Policy
from learner.packing import logprobs_C, pack
from learner.work import chunks
from vgrout.config_gate import ProbePolicy
from vgrout.records import Sample

WATCH_EVERY = 192  # rollouts of the run; with 96, updates of 48 took 2.3% longer (median of 30 pairs of updates)


@dataclass(frozen=True)
class FromTokens:
    """Of one rollout, on the CPU; None where nobody asked for it."""

    cgrad_MR: Tensor | None = None  # its c-probe at the gate's policy
    reference_N: Tensor | None = None  # its log-probabilities under the base
    deployed_N: Tensor | None = None  # under the deployed block, which a c-probe at the current policy computes anyway

    def alone(self) -> "FromTokens":
        """The same numbers in storage of their own: views are pickled with the whole chunk that they are of."""
        own = [None if x is None else x.clone() for x in (self.cgrad_MR, self.reference_N, self.deployed_N)]
        return FromTokens(*own)


NOTHING = FromTokens()


@dataclass(frozen=True)
class Begun:
    """Where the numbers of a rollout are, or will be: the chunk, its place there, and all rollouts of its group at the time."""

    chunk: Future[list[FromTokens]]
    place: int
    group: frozenset[str]


@dataclass
class Ahead:
    """Computes and keeps `FromTokens` of rollouts until an update has used them."""

    model: PreTrainedModel
    lora: Lora2r
    probe: ProbePolicy | None  # where c-probes are taken; None: there are none
    wants_reference: bool  # the objective reads it; else it is only logged, of all rollouts where it costs no pass of its own
    density: Density  # what completions are sampled from
    budget: int  # tokens of one forward pass
    share: bool = False  # the probe acts at completions alone
    team: Team = SOLO
    known: dict[str, Begun] = field(default_factory=dict)  # by rollout

    def prepare(self, samples: Sequence[Sample]) -> None:
        """Begin what is missing of `samples`, whole groups; with several learners each does its groups."""
        if not (self.probe or self.wants_reference):
            return
        missing = [s for s in samples if s.rollout_id not in self.known and self.team.owns(s.group)]
        for _, group in groupby(sorted(missing, key=lambda s: (s.group, s.rollout_id)), key=lambda s: s.group):
            whole = list(group)
            names = frozenset(s.rollout_id for s in whole)
            for rows in chunks(whole, self.budget):
                chunk = [whole[i] for i in rows]
                begun = side_by_side.begin(self._measure, chunk)
                self.known.update((s.rollout_id, Begun(begun, place, names)) for place, s in enumerate(chunk))

    def take(self, samples: Sequence[Sample], version: int = 0) -> list[FromTokens]:
        """What is known of `samples`, in order, on every learner; then it is forgotten. `version`: updates done before."""
        known = self._taken(samples) if self.probe or self.wants_reference else [NOTHING] * len(samples)
        if self.wants_reference or self.probe == "initial" or self.density.truncates:
            return known
        return [replace(one, reference_N=watched) for one, watched in zip(known, self._watched(samples, version), strict=True)]

    def _taken(self, samples: Sequence[Sample]) -> list[FromTokens]:
        # Of a group that lost a rollout since (no verdict), all is computed again: chunks are of what an update trains on.
        wanted = {s.rollout_id for s in samples}
        self._drop([name for name, one in self.known.items() if one.group & wanted and not one.group <= wanted])
        self.prepare(samples)
        begun = {s.rollout_id: self.known.pop(s.rollout_id) for s in samples if s.rollout_id in self.known}
        wait({one.chunk for one in begun.values()})  # of one that fails, too: no other may run on behind the error
        mine = {name: one.chunk.result()[one.place] for name, one in begun.items()}
        # What is left is of rollouts that this update does not take: at the current policy it will be out of date.
        self._drop(list(self.known)[: None if self.probe == "current" else -8 * len(samples)])
        if self.team.size > 1:
            mine = {name: one.alone() for name, one in mine.items()}
        every = self.team.merged(mine)
        return [every.get(s.rollout_id, NOTHING) for s in samples]

    def forget(self) -> None:
        """Drop what was computed ahead. What still runs is waited for: it reads the weights and shares the model's hooks."""
        self._drop(list(self.known))

    def _drop(self, names: list[str]) -> None:
        dropped = {self.known.pop(name).chunk for name in names}
        ended = dropped - {one.chunk for one in self.known.values()}
        wait([chunk for chunk in ended if not chunk.cancel()])

    def _watched(self, samples: Sequence[Sample], version: int) -> list[Tensor | None]:
        """The reference of one rollout in WATCH_EVERY, counted over updates of this size, for the log alone."""
        first = -version * len(samples) % WATCH_EVERY
        mine = {i: samples[i] for i in range(first, len(samples), WATCH_EVERY) if self.team.owns(samples[i].group)}
        if first >= len(samples):
            return [None] * len(samples)
        few = list(mine.values())
        measured = [m for rows in chunks(few, self.budget) for m in self._references([few[i] for i in rows])]
        every = self.team.merged({str(i): one.clone() for i, one in zip(mine, measured, strict=True)})
        return [every.get(str(i)) for i in range(len(samples))]

    def _measure(self, chunk: list[Sample]) -> list[FromTokens]:
        if self.probe is None:
            return [FromTokens(reference_N=r) for r in self._references(chunk)]
        packing, initial = pack(chunk, self.lora.device, share=self.share), self.probe == "initial"
        cgrad_GMR, logprob_C = probe_packed(self.model, self.lora, packing, initial=initial, density=self.density)
        logprobs = logprob_C.split(packing.lengths)
        if initial:  # the base, as the adapter adds nothing at its start
            return [FromTokens(c, reference_N=r) for c, r in zip(cgrad_GMR, logprobs, strict=True)]
        references = self._references(chunk) if self.wants_reference else [None] * len(chunk)
        return [FromTokens(c, r, d) for c, r, d in zip(cgrad_GMR, references, logprobs, strict=True)]

    def _references(self, chunk: list[Sample]) -> list[Tensor]:
        packing = pack(chunk, self.lora.device, share=True)
        with torch.no_grad(), self.lora.policy(Policy.BASE):
            return list(logprobs_C(self.model, packing, self.density).cpu().split(packing.lengths))
