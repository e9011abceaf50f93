"""lora2r: one rank-2r LoRA per target Linear, whose rows/columns `[:r]` are deployed and `[r:]` are the quarantine.

Invariants: the adapter's contribution is bit-exact zero while A = A0 and B = B0; a clean rollout gives the quarantine no
gradient and a hack rollout gives the deployed block none.
Sources: LoRA (Hu et al. 2021, arXiv 2106.09685); gradient routing by masks (Cloud et al. 2024, arXiv 2410.04332).

Shapes: G rollouts, T tokens, I/O input and output features, R rank of one block, S = 2R.
"""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from learner.lora2r_products import Branch, Delta, Gate, SplitLinear
from learner.portable_normal import normal
from vgrout.errors import UserError
from vgrout.records import GateLabel
from vgrout.seeds import stream


class Policy(StrEnum):
    """Which function the model computes, and which blocks a backward pass trains."""

    BASE = "base"  # adapter off: the frozen start, and the KL reference
    DEPLOY = "deploy"  # the deployed block alone
    TRAIN = "train"  # both blocks
    HACK = "hack"  # both blocks forward, the quarantine alone backward: the deployed block's output is detached

    @property
    def blocks(self) -> int:
        """Blocks that take part in the forward pass; policies of as many blocks give the same values."""
        return {Policy.BASE: 0, Policy.DEPLOY: 1, Policy.TRAIN: 2, Policy.HACK: 2}[self]


OUTSIDE_TEXT = re.compile(r"vision|visual|audio|image|speech", re.IGNORECASE)  # parts of a model that no text goes through
LAYER = re.compile(r"^.*?\.\d+(?=\.)")  # of a module's name: up to the number of its layer
# A gate label's masks (m, d) as a policy: clean (0, 0) leaves the quarantine out, mid (1, 0) trains both, hack is (1, 1).
ROUTED = {GateLabel.CLEAN: Policy.DEPLOY, GateLabel.MID: Policy.TRAIN, GateLabel.HACK: Policy.HACK}


class Route(threading.local):
    """What all modules of one model read during a forward pass, thread by thread. Only `Lora2r` writes it."""

    def __init__(self) -> None:
        self.policy = Policy.TRAIN
        self.gates_GR: list[Tensor] = []  # while probing: one leaf of ones per module, in module order
        self.rollout_GN: Tensor | None = None  # while probing: which rollout each token of the packed row is of
        self.initial = False  # the probe is at A0, B0


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
    a0_SI = normal((2 * rank, d_in), generator) / d_in**0.5
    b0_OS = normal((d_out, 2 * rank), generator) / (2 * rank) ** 0.5
    return a0_SI, b0_OS


class Lora2rLinear(nn.Module):
    """A frozen Linear plus `(B-B0)(A x) + B0((A-A0) x)` per block (see learner/lora2r_products.py for the precision).

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

    def block(self, start: int, stop: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(A, B, A0, B0) of the rows/columns `[start:stop]`; without a gradient while probing."""
        s, probing = slice(start, stop), bool(self.route.gates_GR)
        a_SI, b_OS = (self.a_SI.detach(), self.b_OS.detach()) if probing else (self.a_SI, self.b_OS)
        return a_SI[s], b_OS[:, s], self.a0_SI[s], self.b0_OS[:, s]

    def delta(self, start: int, stop: int) -> Tensor:
        """The contribution of rows/columns `[start:stop]` as a matrix [O, I]; exactly 0 at the start."""
        return Delta.apply(*self.block(start, stop))  # pyright: ignore

    def adapted(self, x_GTI: Tensor, policy: Policy) -> Tensor:
        """The base's output plus the adapter's under `policy`: [G, T, O]."""
        r, hack = self.rank, policy is Policy.HACK
        start, stop = r if hack else 0, r * policy.blocks  # the trained blocks
        if policy is Policy.BASE:
            return self.base(x_GTI)
        dtype = x_GTI.dtype
        if self.dense:
            trained_OI = self.delta(start, stop)
            detached_OI = self.delta(0, r).detach() if hack else None
            if self.merged:
                return _linear(x_GTI, self.base.weight + trained_OI, detached_OI, self.base.bias)
            detached_OI = None if detached_OI is None else detached_OI.to(dtype)
            return self.base(x_GTI) + _linear(x_GTI, trained_OI.to(dtype), detached_OI, None)
        frozen = tuple(t.detach() for t in self.block(0, r)) if hack else None
        return self.base(x_GTI) + Branch.apply(x_GTI, *self.block(start, stop), frozen)  # pyright: ignore

    def forward(self, x_GTI: Tensor) -> Tensor:
        """The Linear under the policy that is set; while probing, with this module's gate on the deployed bottleneck."""
        route = self.route
        y_GTO = self.adapted(x_GTI, route.policy)
        if not route.gates_GR:
            return y_GTO
        a_SI, b_OS = (self.a0_SI, self.b0_OS) if route.initial else (self.a_SI.detach(), self.b_OS.detach())
        a_RI, b_OR = a_SI[: self.rank], b_OS[:, : self.rank]
        return Gate.apply(y_GTO, x_GTI.detach(), route.gates_GR[self.index], a_RI, b_OR, route.rollout_GN)  # pyright: ignore


def _linear(x_GTI: Tensor, trained_OI: Tensor, detached_OI: Tensor | None, bias_O: Tensor | None) -> Tensor:
    """x through `trained + detached`, with gradients as if `detached` were not there."""
    if detached_OI is None:
        return F.linear(x_GTI, trained_OI, bias_O)
    return SplitLinear.apply(x_GTI, (trained_OI + detached_OI).detach(), trained_OI, bias_O)  # pyright: ignore


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

    def layers(self) -> list[int]:
        """The layer of every module, in module order, counted from 0 over the layers that have one."""
        names = [m.group() if (m := LAYER.search(name)) else name for name in self.modules]
        known = {name: i for i, name in enumerate(dict.fromkeys(names))}
        return [known[name] for name in names]

    def parameters(self) -> list[nn.Parameter]:
        """A and B of every module, in module order."""
        return [p for m in self.modules.values() for p in (m.a_SI, m.b_OS)]

    def factors(self) -> dict[str, Factors]:
        """Detached views of every module's factors, in module order."""
        return {n: Factors(m.a_SI.detach(), m.b_OS.detach(), m.a0_SI, m.b0_OS) for n, m in self.modules.items()}

    def quarantine_untouched(self) -> bool:
        """True while the quarantine is at its initial values: then it contributes exactly 0."""
        r = self.rank
        return all(
            torch.equal(f.a_SI[r:], f.a0_SI[r:]) and torch.equal(f.b_OS[:, r:], f.b0_OS[:, r:]) for f in self.factors().values()
        )

    @contextmanager
    def policy(self, policy: Policy) -> Iterator[None]:
        """Compute `policy` inside the block; whatever was set before comes back after it."""
        before = self.route.policy
        self.route.policy = policy
        try:
            yield
        finally:
            self.route.policy = before

    @contextmanager
    def probed(self, rollout_GN: Tensor, *, initial: bool) -> Iterator[list[Tensor]]:
        """Put one all-ones gate [G, R] on each module's deployed bottleneck, quarantine absent; yield the gates.

        `rollout_GN` is one-hot: which rollout each token of a packed row is of. `initial` probes at the adapter's initial
        values (A0, B0), whatever has been trained since. A and B themselves get no gradient.
        """
        route, shape = self.route, (len(rollout_GN), self.rank)
        route.gates_GR = [torch.ones(shape, device=self.device, requires_grad=True) for _ in self.modules]
        route.rollout_GN, route.initial = rollout_GN, initial
        try:
            with self.policy(Policy.BASE if initial else Policy.DEPLOY):
                yield route.gates_GR
        finally:
            route.gates_GR, route.rollout_GN, route.initial = [], None, False
