"""The plan of a run, made without a GPU: actors, placement, tokens per update, bytes per publish, memory per GPU.

Invariant: a plan that exists fits; one that does not raises a UserError that names the term which breaks it.
Placement is Ray's own arithmetic: an actor with a share below 1 sits on one GPU beside others, first fit.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from vgrout.config import Config
from vgrout.errors import UserError
from vgrout.memory import GIB, Term, activation_bytes, engine_terms, kv_need, learner_terms, longest
from vgrout.shapes import ModelShape, shape_of

HEADROOM = 0.97  # of a GPU's memory that processes can use at all


@dataclass(frozen=True)
class Placed:
    """One actor and the GPUs that it sits on (none: on the CPU)."""

    name: str
    share: float
    gpus: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """What a run will start, move and hold. Bytes per GPU; `memory_gib` 0 means that no size was named."""

    config: Config
    shape: ModelShape
    actors: tuple[Placed, ...]
    gpus: int
    memory_gib: float
    kv_bytes: int  # of one engine; 0 where no GPU memory was named
    notes: tuple[str, ...]

    @property
    def publish_bytes(self) -> int:
        """Both exports of one published version in float32: rank 4r, and 2r (4r where both blocks deploy)."""
        ranks = 4 + (4 if self.config.lora.deploy == "both" else 2)
        return ranks * self.config.lora.rank * self.shape.lora_per_rank(self.config.lora.targets) * 4

    @property
    def sampled_tokens(self) -> int:
        """Completion tokens of one update, at most."""
        r = self.config.rollout
        return r.prompts * r.samples * r.max_new_tokens

    @property
    def learner_tokens(self) -> int:
        """Tokens of one update that go through the learner, at most, per pass."""
        return self.config.rollout.prompts * self.config.rollout.samples * longest(self.config)


def make_plan(config: Config, gpus: int | None = None, memory_gib: float = 0.0) -> Plan:
    """Place the configured actors on `gpus` GPUs of `memory_gib` GiB and check every term.

    `gpus` None takes as many as the configuration asks for. Raises UserError for a plan that cannot fit.
    """
    r, shape = config.runtime, shape_of(config.model.path)
    names = ["learner"] if r.learners == 1 else [f"learner {i}" for i in range(r.learners)]
    shares = [(name, r.learner_gpus) for name in names] + [(f"engine {i}", r.engine_gpus) for i in range(r.engines)]
    if gpus == 0:
        shares = [(name, 0.0) for name, _ in shares]
    need = max(1, math.ceil(sum(share for _, share in shares) - 1e-9)) if any(s for _, s in shares) else 0
    actors = _place(shares, need if gpus is None else gpus)
    used = need if gpus is None else gpus
    kv_bytes, notes = 0, []
    if memory_gib and used:
        kv_bytes = _check_memory(config, shape, actors, used, memory_gib)
    idle = sorted(set(range(used)) - {g for a in actors for g in a.gpus})
    if idle:
        flags = f"--set runtime.learner_gpus=1 --set runtime.engine_gpus=1 --set runtime.engines={max(1, used - 1)}"
        notes.append(f"{len(idle)} of {used} GPUs stay idle; to use them: {flags} --set runtime.engine_memory=0.9")
    missing = [f"data.{name} {getattr(config.data, name)}" for name in ("train", "test", "pairs") if not _exists(config, name)]
    if missing:
        notes.append(f"not here yet: {', '.join(missing)} (`vgrout data fetch` gets problem files)")
    if not used:
        notes.append("no GPU: everything runs on the CPU, and the terms are host memory")
    return Plan(config, shape, actors, used, memory_gib, kv_bytes, tuple(notes))


def _exists(config: Config, name: str) -> bool:
    return Path(getattr(config.data, name)).is_file()


def _place(shares: list[tuple[str, float]], gpus: int) -> tuple[Placed, ...]:
    free = [1.0] * gpus
    placed = []
    for name, share in shares:
        count = max(1, round(share))
        wanted = share / count
        fitting = [g for g in range(gpus) if free[g] >= wanted - 1e-9][:count] if share else []
        if share and len(fitting) < count:
            total = sum(s for _, s in shares)
            raise UserError(
                "runtime: GPUs", f"{gpus} (no room for {name}, share {share:g})", f"{total:g} for the configured actors"
            )
        for g in fitting:
            free[g] -= wanted
        placed.append(Placed(name, share, tuple(fitting)))
    return tuple(placed)


def _check_memory(config: Config, shape: ModelShape, actors: tuple[Placed, ...], gpus: int, memory_gib: float) -> int:
    """Check every process against its budget; the KV bytes of one engine."""
    total, engine_share = memory_gib * GIB, config.runtime.engine_memory
    kv_bytes = 0
    for gpu in range(gpus):
        here = [a for a in actors if gpu in a.gpus]
        engines = [a for a in here if a.name.startswith("engine")]
        reserved = len(engines) * engine_share
        if engines:
            if reserved > HEADROOM:
                found = f"{len(engines)} engines x runtime.engine_memory {engine_share:g} on GPU {gpu}"
                raise UserError("runtime.engine_memory", found, f"at most {HEADROOM / len(engines):.2f} each")
            budget = engine_share * total
            terms = engine_terms(config, shape)
            advice = "a larger runtime.engine_memory, a GPU of its own (engine_gpus = 1), or a larger GPU"
            _fit(f"engine on GPU {gpu}", [*terms, kv_need(config, shape)], budget, memory_gib, advice)
            kv_bytes = int(budget) - sum(t.bytes for t in terms)
        if learners := len(here) - len(engines):
            budget = (HEADROOM - reserved) * total / learners
            advice = _learner_advice(config, shape, budget)
            _fit(f"learner on GPU {gpu}", learner_terms(config, shape), budget, memory_gib, advice)
    return kv_bytes


def _fit(who: str, terms: list[Term], budget: float, memory_gib: float, advice: str) -> None:
    """Raise UserError that names the first term at which the sum leaves the budget."""
    total, parts = 0, []
    for term in terms:
        total += term.bytes
        parts.append(f"{term.name} {term.bytes / GIB:.2f}")
        if total > budget:
            found = f"{' + '.join(parts)} = {total / GIB:.2f} GiB, with {budget / GIB:.2f} of {memory_gib:g} GiB for it"
            raise UserError(f"plan: {who}: {term.name} ({term.formula})", found, advice)


def _learner_advice(config: Config, shape: ModelShape, budget: float) -> str:
    """What makes the learner fit: checkpointing, the largest micro-batch that does, or another GPU."""
    fixed = sum(t.bytes for t in learner_terms(config, shape) if t.name != "activations")
    if not config.train.gradient_checkpointing:
        return "train.gradient_checkpointing = true, fewer train.micro_tokens, or a larger GPU"
    fits = [
        t
        for t in range(longest(config), config.train.micro_tokens, 256)
        if activation_bytes(config, shape, t)[0] + fixed <= budget
    ]
    if fits:
        return f"train.micro_tokens of at most {fits[-1]}, or a larger GPU"
    return "a GPU of its own for the learner (learner_gpus = 1, engines elsewhere), or a larger one"


def render(plan: Plan) -> str:
    """The plan as text: actors, placement, tokens, bytes, and every memory term with its formula."""
    c, shape = plan.config, plan.shape
    r, p = c.rollout, shape.lora_per_rank(c.lora.targets)
    size = f" of {plan.memory_gib:g} GiB" if plan.memory_gib else ""
    lines = [f"plan of {c.preset}, arm {c.arm}, seed {c.seed}: {c.model.path} ({c.model.dtype})"]
    lines.append(f"  placement on {plan.gpus} GPU(s){size}, {c.runtime.graders} graders on CPUs")
    for actor in plan.actors:
        where = "GPU " + ", ".join(map(str, actor.gpus)) if actor.gpus else "CPU"
        lines.append(f"    {actor.name:<10} {where:<8} share {actor.share:g}")
    lines += [
        f"  per update: {r.prompts} prompts x {r.samples} = {r.prompts * r.samples} rollouts; at most {plan.sampled_tokens:,}"
        f" sampled tokens, {plan.learner_tokens:,} tokens per learner pass ({', '.join(_passes(c))})",
        f"  per publish: {plan.publish_bytes:,} B ({plan.publish_bytes / 2**20:.0f} MiB) = {p:,} LoRA parameters per rank x 4 B"
        f" x rank {plan.publish_bytes // p // 4} (train 4r, deploy {'4r' if c.lora.deploy == 'both' else '2r'})",
        "  learner memory:",
        *_table(learner_terms(c, shape)),
        "  engine memory, per engine:",
        *_table([*engine_terms(c, shape), kv_need(c, shape)]),
    ]
    if plan.kv_bytes:
        tokens = plan.kv_bytes // shape.kv_per_token(2 if c.model.dtype == "bfloat16" else 4)
        share = f"{c.runtime.engine_memory:g} x {plan.memory_gib:g} GiB less the terms above it"
        lines.append(
            f"  KV cache: {plan.kv_bytes / GIB:.2f} GiB ({share}) = {tokens:,} tokens = {tokens // longest(c)} whole rollouts"
        )
    return "\n".join([*lines, *(f"  note: {note}" for note in plan.notes)])


def _table(terms: list[Term]) -> list[str]:
    rows = [*terms, Term("sum", sum(t.bytes for t in terms), "")]
    return [f"    {t.name:<14} {t.bytes / GIB:8.2f} GiB  {t.formula}".rstrip() for t in rows]


def _passes(config: Config) -> list[str]:
    passes = ["c-probe forward and backward"] if config.gate.rule == "banded" else []
    passes.append("sampling policy forward")
    passes += ["old policy forward"] if config.objective.epochs > 1 else []
    passes += ["KL reference forward"] if config.objective.kl else []
    return [*passes, f"update forward and backward x {config.objective.epochs}"]
