"""The learner: one update reads like the paper: score, gate, mask, objective, backward, step.

Invariant: it receives `Sample`s (tokens, flawed reward, policy version) and authored pairs, nothing else; the same
samples in the same order give the same bytes. Shapes: G rollouts of a batch, T tokens.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from learner import checkpoint
from learner.data_parallel import SOLO, join_team
from learner.export import peft_bytes
from learner.gate import masks
from learner.gradient_checkpointing import recompute_layers
from learner.lora2r import Lora2r, Policy
from learner.model import collate, load_model, load_tokenizer, logprobs_GT, micro_batches, scatter
from learner.objective import TokenTerms, advantages, loss
from learner.optimizer import Optimizer, learning_rate
from learner.reference_logprobs import Before, measure
from learner.router import Router
from learner.vgrad import Side, tokenize_pairs
from vgrout.config import Config
from vgrout.files import sha256
from vgrout.records import AdapterVersion, Gated, GateLabel, Pair, Sample


@dataclass(frozen=True)
class UpdateResult:
    """What one update says: numbers for metrics.jsonl and one `Gated` per sample, in order."""

    metrics: dict[str, float]
    gated: list[Gated]


class Learner:
    """Holds the base, the adapter, the optimizer and the gate; `version` counts the optimizer updates done."""

    def __init__(self, config: Config, pairs: list[Pair], fractions: list[tuple[float, ...]] | None = None) -> None:
        """Load everything. `fractions`: label shares to match, one row per update (the placebo's reference)."""
        torch.set_num_threads(config.runtime.learner_threads)
        torch.use_deterministic_algorithms(True, warn_only=True)
        # A debugging aid that costs 7% of an update.
        torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
        self.config = config
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.tokenizer = load_tokenizer(config.model.path)
        self.model = load_model(config.model, self.device)
        self.lora = Lora2r(self.model, config.lora.targets, config.lora.rank, config.seed)
        if config.train.gradient_checkpointing:
            recompute_layers(self.model, self.lora)
        self.optimizer = Optimizer(self.lora, config.optim)
        tokens = tokenize_pairs(self.tokenizer, pairs)
        self.router = Router(config.gate, config.seed, tokens, fractions or [])
        self.canary: Side = tokens.clean[0]
        self.version, self.team = 0, SOLO

    def join(self, rank: int, size: int, address: str) -> None:
        """Become one of `size` learners that share every batch by rollout (see learner/data_parallel.py)."""
        self.team = self.router.team = join_team(rank, size, address, self.device)

    def update(self, samples: list[Sample]) -> UpdateResult:
        """Train on one batch and bump the version."""
        c, budget = self.config, self.config.train.micro_tokens
        score_G, labels = self.router.route(self.model, self.lora, samples, self.version, budget)
        m_G, d_G = masks(labels)
        gained = advantages([s.reward for s in samples], [s.group for s in samples], labels, c.objective.baseline)
        mine = self.team.rows(samples)
        share, m_g, d_g, advantage_g = [samples[i] for i in mine], m_G[mine], d_G[mine], gained.advantage_G[mine]
        before = measure(self.model, self.lora, c, share, m_g, d_g, self.team)
        denominator = len(samples) * c.rollout.max_new_tokens
        lr = learning_rate(c.optim, self.version, c.train.updates)
        value, clipped, norm, shares = 0.0, 0.0, 0.0, {}
        for _ in range(c.objective.epochs):
            value, clipped = 0.0, 0.0
            for rows in micro_batches(share, budget, [labels[i] for i in mine]):
                part, part_clipped = self._backward(share, rows, advantage_g, m_g, d_g, before, denominator)
                value, clipped = value + part, clipped + part_clipped
            self.team.sum_gradients(self.lora.parameters())
            value, clipped = self.team.total(value, clipped)
            shares = self._gradient_shares()
            norm = self.optimizer.step(lr)
        self.version += 1
        metrics = {
            "lr": lr,
            "loss": value,
            "grad_norm": norm,
            "clip_fraction": clipped / sum(len(s.completion_ids) for s in samples),
            "skipped_share": gained.skipped_G.float().mean().item(),
            **shares,
            **before.metrics,
            **self._gate_metrics(score_G, labels),
        }
        gated = [
            Gated(s.rollout_id, score_G[i].item(), labels[i], gained.advantage_G[i].item(), bool(gained.skipped_G[i]))
            for i, s in enumerate(samples)
        ]
        return UpdateResult(metrics, gated)

    def _backward(
        self,
        samples: list[Sample],
        rows: list[int],
        advantage_G: Tensor,
        m_G: Tensor,
        d_G: Tensor,
        before: Before,
        denominator: float,
    ) -> tuple[float, int]:
        """Add one micro-batch to the gradients; returns its loss and the number of clipped tokens."""
        c = self.config.objective
        batch = collate([samples[i] for i in rows], self.device)
        with self.lora.routed(m_G[rows].to(self.device), d_G[rows].to(self.device)):
            logprob_GT = logprobs_GT(self.model, batch, self.config.rollout.temperature)
        # With one step per batch the policy has not moved yet: the ratio is 1 and only its gradient counts.
        old_GT = scatter(batch, [before.old[i] for i in rows]) if before.old else logprob_GT.detach()
        terms = TokenTerms(
            logprob_GT=logprob_GT,
            old_GT=old_GT,
            reference_GT=scatter(batch, [before.reference[i] for i in rows]) if before.reference else None,
            weight_GT=scatter(batch, [before.weight[i] for i in rows]),
            mask_GT=batch.completion_GT,
        )
        advantage_g = advantage_G[rows].to(self.device)
        value, clipped = loss(terms, advantage_g, clip=c.clip, kl=c.kl, denominator=denominator)
        value.backward()
        return value.item(), int(clipped)

    def _gradient_shares(self) -> dict[str, float]:
        """Squared-norm share of the quarantine in the gradient about to be applied."""
        deployed, quarantine, r = 0.0, 0.0, self.lora.rank
        for module in self.lora.modules.values():
            if module.a_SI.grad is None or module.b_OS.grad is None:
                continue
            a, b = module.a_SI.grad, module.b_OS.grad
            deployed += (a[:r].square().sum() + b[:, :r].square().sum()).item()
            quarantine += (a[r:].square().sum() + b[:, r:].square().sum()).item()
        total = deployed + quarantine
        return {"quarantine_grad_share": quarantine / total if total else 0.0}

    def _gate_metrics(self, score_G: Tensor, labels: list[GateLabel]) -> dict[str, float]:
        shares = {f"share_{name}": labels.count(name) / len(labels) for name in GateLabel}
        refresh = self.router.refresh
        if refresh is None:
            return shares
        return {
            **shares,
            "score_mean": score_G.mean().item(),
            "score_std": score_G.std().item() if len(labels) > 1 else 0.0,
            "band_lower": refresh.band.lower,
            "band_upper": refresh.band.upper,
            "band_width": refresh.band.width,
            "v_overlap": refresh.overlap,
        }

    def publish(self) -> AdapterVersion:
        """Both exports of the current version as bytes, their digest, and the canary's log-probabilities under each."""
        rank, factors = self.lora.rank, self.lora.factors()
        train = peft_bytes(factors, rank, blocks=2)
        both = self.config.lora.deploy == "both"
        deploy = train if both else peft_bytes(factors, rank, blocks=1)
        return AdapterVersion(
            version=self.version,
            train=train,
            deploy=deploy,
            deploy_blocks=2 if both else 1,
            digest=sha256(train + deploy),
            canary_train=self._canary(Policy.TRAIN),
            canary_deploy=self._canary(Policy.TRAIN if both else Policy.DEPLOY),
        )

    def checkpoint(self) -> tuple[bytes, bytes]:
        """The two files of a checkpoint (see learner/checkpoint.py)."""
        adapter = checkpoint.adapter_bytes(self.lora, self.config.seed, self.publish())
        return adapter, checkpoint.optimizer_bytes(self.lora, self.optimizer, self.router, self.version)

    def restore(self, adapter: bytes, optimizer: bytes) -> None:
        """Go on from a checkpoint's two files. Raises UserError for damaged ones."""
        self.version = checkpoint.restore(self.lora, self.optimizer, self.router, adapter, optimizer)

    def initial_digest(self) -> str:
        """SHA-256 of A0 and B0: equal for all arms of a seed."""
        return checkpoint.initial_digest(self.lora.factors())

    def canary_ids(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The fixed canary text: (prompt ids, completion ids) of the first authored pair's clean side."""
        return self.canary.prompt_ids, self.canary.completion_ids

    def _canary(self, policy: Policy) -> tuple[float, ...]:
        batch = collate([self.canary], self.device)
        with torch.no_grad(), self.lora.policy(policy):
            values = logprobs_GT(self.model, batch)[batch.completion_GT].tolist()
        if not all(map(math.isfinite, values)):
            raise FloatingPointError(f"version {self.version}: the canary's log-probabilities are not finite")
        return tuple(values)
