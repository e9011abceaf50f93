"""The plain multi-pass update: what the learner's fast path is tested against, and timed against.

Invariant: no pass is shared with another and nothing is packed: padded rows, the model's own attention, autograd alone, the
masks written out as in the method (m lets the quarantine in, d detaches the deployed block's output).
Shapes: G rollouts, T tokens, I/O features, R rank of one block.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from learner.lora2r import Factors
from learner.model import collate, gather, logprobs_GT, scatter
from vgrout.records import GateLabel, Sample, Sampling


@dataclass
class Switch:
    """What all plain Linears read: the masks m, d and deployed of each rollout, and the probe's gates."""

    m_G: Tensor | None = None
    d_G: Tensor | None = None
    adapter: bool = True
    gates_GR: list[Tensor] | None = None
    initial: bool = False
    probed_GT: Tensor | None = None  # where the gates act; None: at every token


class PlainLinear(nn.Module):
    """A Linear with two LoRA blocks, masks and the probe's gate, written out."""

    def __init__(self, base: nn.Linear, factors: Factors, rank: int, switch: Switch, index: int) -> None:
        super().__init__()
        self.base, self.rank, self.switch, self.index = base, rank, switch, index
        self.a, self.b = nn.Parameter(factors.a_SI.clone()), nn.Parameter(factors.b_OS.clone())
        self.a0, self.b0 = factors.a0_SI, factors.b0_OS

    def block(self, x: Tensor, s: slice) -> Tensor:
        """`(B-B0) A x + B0 (A-A0) x` of one block."""
        inner, moved = F.linear(x, self.a[s]), F.linear(x, self.a[s] - self.a0[s])
        return F.linear(inner, self.b[:, s] - self.b0[:, s]) + F.linear(moved, self.b0[:, s])

    def forward(self, x_GTI: Tensor) -> Tensor:
        """Base, plus the deployed block (detached where d), plus the quarantine (where m), plus the gate's term."""
        switch, r = self.switch, self.rank
        y, x = self.base(x_GTI), x_GTI.to(self.a.dtype)
        if switch.gates_GR is not None:
            if not switch.initial:
                y = y + self.block(x, slice(0, r)).to(y.dtype)
            a, b = (self.a0, self.b0) if switch.initial else (self.a.detach(), self.b.detach())
            h = F.linear(x.detach(), a[:r])
            moved_GTR = (switch.gates_GR[self.index] - 1.0)[:, None, :] * h
            if switch.probed_GT is not None:
                moved_GTR = moved_GTR * switch.probed_GT[..., None]
            return y + F.linear(moved_GTR, b[:, :r]).to(y.dtype)
        if not switch.adapter:
            return y
        assert switch.m_G is not None and switch.d_G is not None
        deployed, quarantine = self.block(x, slice(0, r)), self.block(x, slice(r, 2 * r))
        deployed = torch.where(switch.d_G[:, None, None], deployed.detach(), deployed)
        return y + (deployed + torch.where(switch.m_G[:, None, None], quarantine, 0.0)).to(y.dtype)


class MultiPass:
    """A base model with plain Linears in place of its targets, and the passes of one update over all rollouts at once."""

    def __init__(self, model: Any, factors: dict[str, Factors], rank: int) -> None:
        self.model, self.switch, self.modules = model, Switch(), {}
        model.requires_grad_(False)
        for name, factor in factors.items():
            parent, _, leaf = name.rpartition(".")
            self.modules[name] = PlainLinear(model.get_submodule(name), factor, rank, self.switch, len(self.modules))
            setattr(model.get_submodule(parent), leaf, self.modules[name])
        self.rank = rank

    def logprobs(self, samples: list[Sample], temperature: float, *, adapter: bool = True, m_G: Any, d_G: Any) -> Tensor:
        """logprob_GT of padded rows under the masks."""
        self.switch.adapter, self.switch.m_G, self.switch.d_G = adapter, torch.tensor(m_G), torch.tensor(d_G)
        return logprobs_GT(self.model, collate(samples, "cpu"), temperature)

    def cprobe(self, samples: list[Sample], *, initial: bool, completions: bool = False) -> Tensor:
        """cgrad_GMR; `completions`: of gates that act at the completion's tokens alone."""
        gates = [torch.ones(len(samples), self.rank, requires_grad=True) for _ in self.modules]
        self.switch.gates_GR, self.switch.initial = gates, initial
        batch = collate(samples, "cpu")
        self.switch.probed_GT = batch.completion_GT if completions else None
        mean_nll_G = -logprobs_GT(self.model, batch).sum(1) / batch.lengths_G
        self.switch.gates_GR = None
        return torch.stack(torch.autograd.grad(mean_nll_G.sum(), gates), dim=1)

    def gradients(
        self, samples: list[Sample], labels: list[GateLabel], advantage_G: Tensor, *, kl: float, clip: float, cap: float,
        temperature: float, denominator: float, deploy_both: bool = False, trained: bool = False,
        varied_G: Tensor | None = None,
    ) -> tuple[float, list[Tensor]]:  # fmt: skip
        """(loss, gradients of A and B of every module) of the objective: behaviour, reference and training pass.

        `trained`: weights of the policy that trains over the engine's. `varied_G`: the KL term of these rollouts alone.
        """
        off = [False] * len(samples)
        m = [label is not GateLabel.CLEAN for label in labels]
        d = [label is GateLabel.HACK for label in labels]
        wrote = [deploy_both or s.sampling is Sampling.TRAIN for s in samples]
        batch = collate(samples, "cpu")
        with torch.no_grad():
            behaviour_GT = self.logprobs(samples, temperature, m_G=wrote, d_G=off)
            reference_GT = self.logprobs(samples, temperature, adapter=False, m_G=off, d_G=off)
            training_GT = self.logprobs(samples, temperature, m_G=m, d_G=d)
        now = gather(batch, training_GT if trained else behaviour_GT)
        engine = [torch.tensor(s.logprobs) if s.logprobs else n for s, n in zip(samples, now, strict=True)]
        weight_GT = scatter(batch, [torch.exp(n - e).clamp(max=cap) for n, e in zip(now, engine, strict=True)])
        logprob_GT = self.logprobs(samples, temperature, m_G=m, d_G=d)
        ratio_GT = torch.exp(logprob_GT - logprob_GT.detach())
        bounded_GT = ratio_GT.clamp(1 - clip, 1 + clip)
        gain_GT = torch.minimum(ratio_GT * advantage_G[:, None], bounded_GT * advantage_G[:, None]) * weight_GT
        gap_GT = reference_GT - logprob_GT
        kl_G = kl * (torch.ones(len(samples)) if varied_G is None else varied_G)
        loss = ((kl_G[:, None] * (torch.exp(gap_GT) - gap_GT - 1) - gain_GT) * batch.completion_GT).sum() / denominator
        parameters = [p for module in self.modules.values() for p in (module.a, module.b)]
        return loss.item(), list(torch.autograd.grad(loss, parameters, materialize_grads=True))
