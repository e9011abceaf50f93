"""The learner: one update reads as the paper: score, gate, advantages, gradients, step, report.

Invariant: it receives `Sample`s (tokens, flawed reward, policy version) and authored pairs, nothing else; the same
samples in the same order give the same bytes. Shapes: G rollouts of a batch.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from learner import checkpoint, packed_attention, side_by_side
from learner.ahead import Ahead
from learner.data_parallel import SOLO, join_team
from learner.density import Density
from learner.device import device
from learner.export import both_exports
from learner.fixed_terms import fixed_terms
from learner.gradient_checkpointing import recompute_layers
from learner.lora2r import Lora2r, Policy
from learner.model import load_model
from learner.objective import above_mean
from learner.optimizer import Optimizer, Step, learning_rate
from learner.packing import logprobs_C, pack
from learner.pair_tokens import Side, tokenize_pairs
from learner.policy_gradient import ObjectiveSums, accumulate_gradients
from learner.router import Router
from learner.score_penalty import learned_from
from learner.tokenizer import load_tokenizer
from learner.update_metrics import nothing_graded, report
from vgrout.config import Config
from vgrout.files import sha256
from vgrout.gpu_shares import memory_share
from vgrout.lora_ranks import BLOCKS
from vgrout.records import AdapterVersion, GateLabel, Pair, Sample, UpdateResult


class Learner:
    """Holds the base, the adapter, the optimizer and the gate; `version` counts the optimizer updates done."""

    def __init__(
        self,
        config: Config,
        pairs: list[Pair],
        fractions: list[tuple[float, ...]] | None = None,
        canary: tuple[tuple[int, ...], tuple[int, ...]] | None = None,
    ) -> None:
        """Load everything. `fractions`: label shares to match, one row per update (the placebo's reference).

        `canary`: (prompt ids, completion ids) of the text that engines are checked with; by default that of `canary_ids`.
        """
        torch.set_num_threads(config.runtime.learner_threads)
        torch.use_deterministic_algorithms(True, warn_only=not config.runtime.deterministic)
        # A debugging aid that costs 7% of an update.
        torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
        self.config = config
        self.device = device(config.runtime.learner_gpus, "runtime.learner_gpus")
        side_by_side.use(config.runtime.side_by_side if self.device == "cpu" else 1)  # a GPU is full with one
        if self.device == "cuda":
            torch.cuda.set_per_process_memory_fraction(memory_share(config.runtime))
        self.tokenizer = load_tokenizer(config.model.path)
        self.model: Any = load_model(config.model, self.device)
        self.model.set_attn_implementation(packed_attention.NAME)
        self.lora = Lora2r(self.model, config.lora.targets, config.lora.rank, config.seed)
        if config.train.gradient_checkpointing:
            recompute_layers(self.model, self.lora)
        self.optimizer = Optimizer(self.lora, config.optim)
        tokens = tokenize_pairs(self.tokenizer, pairs)
        self.router = Router(config.gate, config.seed, tokens, fractions or [], config.train.micro_tokens)
        self.canary: Side = Side(*canary) if canary else tokens.clean[0]
        self.ahead = Ahead(
            self.model,
            self.lora,
            probe=config.c_probes_at,
            wants_reference=config.objective.kl > 0,
            density=Density.of(config.rollout),
            budget=config.train.micro_tokens,
            share=config.probes_completions,
        )
        if config.train.warm_start:
            checkpoint.warm_start(self.lora, Path(config.train.warm_start))
        self.version, self.team = 0, SOLO
        self.canary_base = self._canary(Policy.BASE)
        self.signed: AdapterVersion | None = None  # what was published last, without its bytes

    def join(self, rank: int, size: int, address: str) -> None:
        """Become one of `size` learners that share every batch by rollout (see learner/data_parallel.py)."""
        self.team = self.router.team = self.ahead.team = join_team(rank, size, address, self.device)

    def update(self, samples: list[Sample], given: dict[str, GateLabel] | None = None) -> UpdateResult:
        """Train on one batch of whole groups and bump the version; an empty batch changes nothing else.

        `given`: labels by rollout id that a relaxed comparator was told; no other run has any (actors/rollouts/relaxed.py).
        """
        c, router = self.config, self.router
        if not samples:  # every verdict was an infrastructure error: the update is counted, and nothing is learned from it
            router.ready(self.model, self.lora, self.version)  # as in every update, and as `prepare` may have done already
            self.version += 1
            return nothing_graded(learning_rate(c.optim, self.version - 1, c.train.updates))

        # 1. Score: the cosine of every rollout's c-probe with v_grad.
        known = self.ahead.take(samples, self.version)
        scores = router.score(self.model, self.lora, samples, known, self.version)

        # 2. Gate: the band turns scores into labels; a label says which block the rollout trains.
        rewards, groups = [s.reward for s in samples], [s.group for s in samples]
        if given is None:
            labels = router.label(scores.score_G, above_mean(rewards, groups), self.version)
        else:
            labels = [given[s.rollout_id] for s in samples]

        # 3. Advantages: reward minus baseline, group by group.
        gained = learned_from(router, c.objective, rewards, groups, labels, scores.score_G)

        fixed = fixed_terms(self.model, self.lora, c, samples, labels, known, self.team)
        sums, step, skipped = ObjectiveSums(), Step(learning_rate(c.optim, self.version, c.train.updates)), False
        for _ in range(c.objective.epochs):
            # 4. Gradients: of the clipped objective, every rollout under the masks of its label.
            sums = accumulate_gradients(self.model, self.lora, c, samples, labels, gained, fixed, self.team)

            # 5. Step: AdamW on both blocks.
            step = self.optimizer.step(step.lr)
            skipped |= step.skipped
        self.version += 1

        # 6. Report.
        policy = fixed.metrics(self.team) | fixed.off_policy(labels, self.team)
        return report(samples, scores, labels, gained, policy, sums, step, skipped, router.refresh)

    def prepare(self, samples: list[Sample]) -> None:
        """Compute ahead of the next `update` what follows from tokens and weights: v_grad where due, c-probes, KL reference.

        Call it with whole groups, in any order and as often as you like, from the moment their tokens are known; rewards are
        not read. The update gives the same bytes with and without it. Where nothing can be prepared it does nothing.
        """
        self.router.ready(self.model, self.lora, self.version)
        self.ahead.prepare(samples)

    def publish(self) -> AdapterVersion:
        """Both exports of the current version as bytes, their digest, and the canary's log-probabilities under each."""
        blocks = self.config.lora.deployed_blocks
        dtype = self.config.model.export_dtype
        train, deploy = both_exports(self.lora.factors(), self.lora.rank, blocks, dtype)
        published = AdapterVersion(
            version=self.version,
            train=train,
            deploy=deploy,
            deploy_blocks=blocks,
            digest=sha256(train, deploy),
            canary_train=self._canary(Policy.TRAIN),
            canary_deploy=self._canary(Policy.TRAIN if blocks == BLOCKS else Policy.DEPLOY),
            canary_base=self.canary_base,
            dtype=dtype,
        )
        self.signed = replace(published, train=b"", deploy=b"")
        return published

    def checkpoint(self) -> tuple[bytes, bytes]:
        """The two files of a checkpoint (see learner/checkpoint.py)."""
        signed = self.signed
        if signed is None or signed.version != self.version:
            signed = self.publish()
        adapter = checkpoint.adapter_bytes(self.lora, self.config.seed, signed)
        return adapter, checkpoint.optimizer_bytes(self.lora, self.optimizer, self.router, self.version)

    def restore(self, adapter: bytes, optimizer: bytes) -> None:
        """Go on from a checkpoint's two files. Raises UserError for damaged ones."""
        self.ahead.forget()
        self.signed = None
        self.version = checkpoint.restore(self.lora, self.optimizer, self.router, adapter, optimizer)

    def initial_digest(self) -> str:
        """SHA-256 of A0 and B0: equal for all arms of a seed."""
        return checkpoint.initial_digest(self.lora.factors())

    def canary_ids(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The canary text: (prompt ids, completion ids), of the first authored pair's clean side unless another was given."""
        return self.canary.prompt_ids, self.canary.completion_ids

    def _canary(self, policy: Policy) -> tuple[float, ...]:
        packing = pack([self.canary], self.lora.device, share=False)
        with torch.no_grad(), self.lora.policy(policy):
            values = logprobs_C(self.model, packing).tolist()
        if not all(map(math.isfinite, values)):
            raise FloatingPointError(f"version {self.version}: the canary's log-probabilities are not finite")
        return tuple(values)
