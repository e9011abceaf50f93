"""lora2r: one rank-2r LoRA per target Linear, whose rows/columns `[:r]` are deployed and `[r:]` are the quarantine.

Invariants: the adapter's contribution is bit-exact zero while A = A0 and B = B0; under `routed` a clean rollout
(m=0, d=0) gives the quarantine a gradient of exactly 0 and a hack rollout (m=1, d=1) gives the deployed block one.
Sources: LoRA (Hu et al. 2021, arXiv 2106.09685); gradient routing by masks (Cloud et al. 2024, arXiv 2410.04332).

Shapes: G rollouts, T tokens, I/O input and output features, R rank of one block, S = 2R.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vgrout.errors import UserError
from vgrout.records import GateLabel
from vgrout.seeds import stream


class Policy(StrEnum):
    """Which function the model computes; see `Lora2r` for the context managers that set it."""

    BASE = "base"  # adapter off: the frozen start, and the KL reference
    DEPLOY = "deploy"  # deployed block only (ablated)
    TRAIN = "train"  # both blocks, unmasked
    ROUTED = "routed"  # per-rollout masks m, d
    PROBE = "probe"  # DEPLOY or BASE with the c gate on the deployed bottleneck


OUTSIDE_TEXT = re.compile(r"vision|visual|audio|image|speech", re.IGNORECASE)  # parts of a model that no text goes through
LABELS = {(False, False): GateLabel.CLEAN, (True, False): GateLabel.MID, (True, True): GateLabel.HACK}


@dataclass
class Route:
    """What all modules of one model read during a forward pass. Only `Lora2r` writes it."""

    policy: Policy = Policy.TRAIN
    label: GateLabel | None = None  # the one label of a uniform batch under ROUTED; None for a mixed batch
    quarantine_G11: Tensor | None = None  # m: 1 where the quarantine takes part
    detach_G11: Tensor | None = None  # d: 1 where the deployed block's output is detached
    probe_initial: bool = False
    gates_GR: list[Tensor] = field(default_factory=list)  # one leaf of ones per module, in module order


@dataclass(frozen=True)
class Factors:
    """A, B and their initial values of one module: [S, I], [O, S], [S, I], [O, S]."""

    a_SI: Tensor
    b_OS: Tensor
    a0_SI: Tensor
    b0_OS: Tensor


def initial_factors(name: str, d_in: int, d_out: int, rank: int, seed: int) -> tuple[Tensor, Tensor]:
    """(A0, B0) of the module `name`: A0 ~ N(0, 1/d_in) is [2R, I], B0 ~ N(0, 1/2R) is [O, 2R]; seeded by name."""
    generator = torch.Generator().manual_seed(stream(seed, "lora2r", name))
    a0_SI = torch.randn(2 * rank, d_in, generator=generator) / d_in**0.5
    b0_OS = torch.randn(d_out, 2 * rank, generator=generator) / (2 * rank) ** 0.5
    return a0_SI, b0_OS


class Lora2rLinear(nn.Module):
    """A frozen Linear plus `(B-B0)(A x) + B0((A-A0) x)` per block, in the adapter's float32.

    The sum equals BA - B0 A0; this form is exactly zero at the start and does not cancel in low precision.
    """

    def __init__(self, name: str, base: nn.Linear, rank: int, seed: int, route: Route, index: int) -> None:
        super().__init__()
        self.base, self.rank, self.route, self.index = base, rank, route, index
        a0_SI, b0_OS = initial_factors(name, base.in_features, base.out_features, rank, seed)
        device = base.weight.device
        self.register_buffer("a0_SI", a0_SI.to(device), persistent=False)
        self.register_buffer("b0_OS", b0_OS.to(device), persistent=False)
        self.a_SI = nn.Parameter(a0_SI.to(device, copy=True))
        self.b_OS = nn.Parameter(b0_OS.to(device, copy=True))
        self.a0_SI: Tensor
        self.b0_OS: Tensor
        # Where the factored form costs more per token than a matrix of the base's shape, as in the tiny model, the delta is
        # formed as a matrix first and, in the base's own precision, added to it: one product instead of three.
        self.dense = 2 * rank * (base.in_features + base.out_features) > base.in_features * base.out_features
        self.merged = self.dense and base.weight.dtype == self.a_SI.dtype

    def delta(self, start: int, stop: int) -> Tensor:
        """The contribution of rows/columns `[start:stop]` as a matrix [O, I]; exactly 0 at the start."""
        a_SI, b0_OS = self.a_SI[start:stop], self.b0_OS[:, start:stop]
        return (self.b_OS[:, start:stop] - b0_OS) @ a_SI + b0_OS @ (a_SI - self.a0_SI[start:stop])

    def branch(self, x_GTI: Tensor, start: int, stop: int) -> Tensor:
        """The contribution of rows/columns `[start:stop]` to the output: [G, T, O]."""
        if self.dense:
            return F.linear(x_GTI, self.delta(start, stop))
        a_SI, b0_OS = self.a_SI[start:stop], self.b0_OS[:, start:stop]
        first_GTO = F.linear(F.linear(x_GTI, a_SI), self.b_OS[:, start:stop] - b0_OS)
        return first_GTO + F.linear(F.linear(x_GTI, a_SI - self.a0_SI[start:stop]), b0_OS)

    def adapted(self, x_GTI: Tensor, start: int, stop: int) -> Tensor:
        """The base's output plus the contribution of `[start:stop]`: [G, T, O]."""
        if self.merged:
            return F.linear(x_GTI, self.base.weight + self.delta(start, stop), self.base.bias)
        y_GTO = self.base(x_GTI)
        return y_GTO + self.branch(x_GTI.to(self.a_SI.dtype), start, stop).to(y_GTO.dtype)

    def gate_term(self, x_GTI: Tensor) -> Tensor:
        """`B((c-1) * h)` with h = A[:r] x: exactly 0 in value at c = 1, and d/dc = h * (B^T dL/dy), summed over tokens.

        h and B are constants here: only c's gradient is wanted, and at c = 1 the term passes none on to x.
        """
        initial = self.route.probe_initial
        a_RI = (self.a0_SI if initial else self.a_SI)[: self.rank].detach()
        b_OR = (self.b0_OS if initial else self.b_OS)[:, : self.rank].detach()
        c_GR = self.route.gates_GR[self.index]
        h_GTR = F.linear(x_GTI.detach(), a_RI)
        return F.linear((c_GR - 1.0)[:, None, :] * h_GTR, b_OR)

    def routed(self, x_GTI: Tensor) -> Tensor:
        """The output under the gate: a uniform batch computes what its label needs, a mixed one selects by the masks."""
        route, r = self.route, self.rank
        if route.label is GateLabel.CLEAN:
            return self.adapted(x_GTI, 0, r)
        if route.label is GateLabel.MID:
            return self.adapted(x_GTI, 0, 2 * r)
        if route.label is GateLabel.HACK:
            y_GTO = self.adapted(x_GTI, r, 2 * r)
            with torch.no_grad():
                deployed_GTO = self.branch(x_GTI.to(self.a_SI.dtype), 0, r)
            return y_GTO + deployed_GTO.to(y_GTO.dtype)
        m_G11, d_G11, xa_GTI = route.quarantine_G11, route.detach_G11, x_GTI.to(self.a_SI.dtype)
        assert m_G11 is not None and d_G11 is not None
        y_GTO, deployed_GTO, quarantine_GTO = self.base(x_GTI), self.branch(xa_GTI, 0, r), self.branch(xa_GTI, r, 2 * r)
        deployed_GTO = torch.where(d_G11, deployed_GTO.detach(), deployed_GTO)
        delta_GTO = deployed_GTO + torch.where(m_G11, quarantine_GTO, torch.zeros_like(quarantine_GTO))
        return y_GTO + delta_GTO.to(y_GTO.dtype)

    def forward(self, x_GTI: Tensor) -> Tensor:
        policy, r = self.route.policy, self.rank
        if policy is Policy.ROUTED:
            return self.routed(x_GTI)
        if policy is Policy.TRAIN:
            return self.adapted(x_GTI, 0, 2 * r)
        if policy is Policy.DEPLOY:
            return self.adapted(x_GTI, 0, r)
        if policy is Policy.BASE:
            return self.base(x_GTI)
        y_GTO = self.base(x_GTI) if self.route.probe_initial else self.adapted(x_GTI, 0, r)
        return y_GTO + self.gate_term(x_GTI.to(self.a_SI.dtype)).to(y_GTO.dtype)


def _layer_linears(model: nn.Module) -> list[str]:
    """Last names of the Linear modules of the layers, in order."""
    numbered = (name for name, m in model.named_modules() if isinstance(m, nn.Linear) and re.search(r"\.\d+\.", name))
    return list(dict.fromkeys(name.rsplit(".", 1)[-1] for name in numbered))


class Lora2r:
    """The adapter of a whole model: its modules in a fixed order, and the switches between policies."""

    def __init__(self, model: nn.Module, targets: tuple[str, ...], rank: int, seed: int) -> None:
        """Freeze `model` and wrap every Linear whose last name is in `targets`, seeding each module by its name.

        Raises UserError where a target name matches no Linear of the model.
        """
        self.rank, self.route = rank, Route()
        self.modules: dict[str, Lora2rLinear] = {}
        model.requires_grad_(False)
        found = [(n, m) for n, m in model.named_modules() if n.rsplit(".", 1)[-1] in targets and isinstance(m, nn.Linear)]
        missing = set(targets) - {name.rsplit(".", 1)[-1] for name, _ in found}
        if missing:
            raise UserError(
                "lora.targets", ", ".join(sorted(missing)), f"Linear modules of the model: {', '.join(_layer_linears(model))}"
            )
        towers = [name for name, _ in found if OUTSIDE_TEXT.search(name)]
        if towers:
            raise UserError("lora.targets", f"{len(towers)} outside the language model, such as {towers[0]}", "a text-only model")
        for name, linear in found:
            wrapped = Lora2rLinear(name, linear, rank, seed, self.route, len(self.modules))
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, wrapped)
            self.modules[name] = wrapped

    @property
    def device(self) -> torch.device:
        """Where the adapter lives."""
        return next(iter(self.modules.values())).a_SI.device

    def parameters(self) -> list[nn.Parameter]:
        """A and B of every module, in module order."""
        return [p for m in self.modules.values() for p in (m.a_SI, m.b_OS)]

    def factors(self) -> dict[str, Factors]:
        """Detached views of every module's factors, in module order."""
        return {n: Factors(m.a_SI.detach(), m.b_OS.detach(), m.a0_SI, m.b0_OS) for n, m in self.modules.items()}

    @contextmanager
    def policy(self, policy: Policy) -> Iterator[None]:
        """Compute BASE, DEPLOY or TRAIN inside the block; whatever was set before comes back after it."""
        before = self.route.policy
        self.route.policy = policy
        try:
            yield
        finally:
            self.route.policy = before

    @contextmanager
    def routed(self, m_G: Tensor, d_G: Tensor) -> Iterator[None]:
        """Per-rollout masks (bool): m=1 lets the quarantine take part, d=1 detaches the deployed block's output."""
        self.route.quarantine_G11, self.route.detach_G11 = m_G[:, None, None], d_G[:, None, None]
        uniform = {LABELS[m, d] for m, d in zip(m_G.tolist(), d_G.tolist(), strict=True)}
        self.route.label = uniform.pop() if len(uniform) == 1 else None
        try:
            with self.policy(Policy.ROUTED):
                yield
        finally:
            self.route.quarantine_G11 = self.route.detach_G11 = self.route.label = None

    @contextmanager
    def probed(self, count: int, *, initial: bool) -> Iterator[list[Tensor]]:
        """Put one all-ones gate [count, R] on each module's deployed bottleneck, quarantine absent; yield the gates.

        `initial` probes at the adapter's initial values (A0, B0), whatever has been trained since.
        """
        self.route.gates_GR = [torch.ones(count, self.rank, device=self.device, requires_grad=True) for _ in self.modules]
        self.route.probe_initial = initial
        try:
            with self.policy(Policy.PROBE):
                yield self.route.gates_GR
        finally:
            self.route.gates_GR, self.route.probe_initial = [], False
