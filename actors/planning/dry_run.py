"""The plan of a run, made without a GPU: actors, placement, tokens per update, bytes per publish, memory per GPU.

Invariant: a plan that exists fits; one that does not raises a UserError that names the term which breaks it.
Placement is the run's own (`actors.planning.placement`), on one node where a number of GPUs is given.
"""

from dataclasses import dataclass, replace

from actors.planning.adapter_slots import check_precision
from actors.planning.gpu_memory import (
    GIB,
    WIDTH,
    Term,
    activation_bytes,
    engine_terms,
    kv_cache_bytes,
    kv_need,
    kv_per_token,
    learner_terms,
    longest,
)
from actors.planning.model_shape import ModelShape, shape_of
from actors.planning.placement import Placement, place
from actors.planning.run_time import passes, render_time
from vgrout.config import Config
from vgrout.errors import UserError
from vgrout.gpu_shares import HEADROOM
from vgrout.lora_ranks import BLOCKS, export_rank


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
        """Both exports of one published version."""
        return publish_bytes(self.config, self.shape)

    @property
    def sampled_tokens(self) -> int:
        """Completion tokens of one update, at most."""
        r = self.config.rollout
        return r.prompts * r.samples * r.max_new_tokens

    @property
    def learner_tokens(self) -> int:
        """Tokens of one update that go through the learner, at most, per pass."""
        return self.config.rollout.prompts * self.config.rollout.samples * longest(self.config)


def publish_bytes(config: Config, shape: ModelShape) -> int:
    """Both exports of one version in the base's precision: rank 4r, and 2r (4r where both blocks deploy)."""
    ranks = sum(export_rank(config.lora.rank, blocks) for blocks in (BLOCKS, config.lora.deployed_blocks))
    return ranks * shape.lora_per_rank(config.lora.targets) * WIDTH[config.model.dtype]


def make_plan(config: Config, gpus: int | None = None, memory_gib: float = 0.0) -> Plan:
    """Place the configured actors on `gpus` GPUs of `memory_gib` GiB and check every term.

    `gpus` None takes as many as the configuration asks for. Raises UserError for a plan that cannot fit.
    """
    shape = shape_of(config.model.path)
    if gpus == 0:
        config = replace(config, runtime=replace(config.runtime, learner_gpus=0.0, engine_gpus=0.0))
    check_split(config, shape)
    check_precision(config)
    placement = place(config)
    used = placement.gpus if gpus is None else gpus
    actors = _on_gpus(placement, config.runtime.learners, used)
    kv_bytes, notes = 0, []
    if memory_gib and used:
        kv_bytes = _check_memory(config, shape, actors, used, memory_gib)
    idle = sorted(set(range(used)) - {g for a in actors for g in a.gpus})
    if idle:
        flags = f"--set runtime.learner_gpus=1 --set runtime.engine_gpus=1 --set runtime.engines={max(1, used - 1)}"
        notes.append(f"{len(idle)} of {used} GPUs stay idle; to use them: {flags} --set runtime.engine_memory=0.9")
    if not used:
        notes.append("no GPU: everything runs on the CPU, and the terms are host memory")
    return Plan(config, shape, actors, used, memory_gib, kv_bytes, tuple(notes))


def check_split(config: Config, shape: ModelShape) -> None:
    """Raise UserError where the model's heads do not divide by the tensor-parallel size."""
    tp = config.runtime.engine_tp
    if shape.heads % tp:
        raise UserError("runtime.engine_tp", str(tp), f"a divisor of the model's {shape.heads} attention heads")


def _on_gpus(placement: Placement, learners: int, gpus: int) -> tuple[Placed, ...]:
    """Number the GPUs of the bundles one after the other. Raises UserError where there are fewer."""
    first = [sum(count for _, count in placement.bundles[:b]) for b in range(len(placement.bundles))]
    placed = []
    for seat in placement.seats:
        name = seat.role if seat.role == "learner" and learners == 1 else f"{seat.role} {seat.number}"
        on = tuple(range(first[seat.bundle], first[seat.bundle] + max(1, round(seat.gpus)))) if seat.gpus else ()
        if on and on[-1] >= gpus:
            found = f"{gpus} (no room for {name}, share {seat.gpus:g})"
            raise UserError("runtime: GPUs", found, f"{placement.gpus} for the configured actors")
        placed.append(Placed(name, seat.gpus, on))
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
            kv_bytes = kv_cache_bytes(config, shape, total)
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
    b = WIDTH[c.model.dtype]
    r, p, tp = c.rollout, shape.lora_per_rank(c.lora.targets), c.runtime.engine_tp
    size = f" of {plan.memory_gib:g} GiB" if plan.memory_gib else ""
    lines = [f"plan of {c.preset}, arm {c.arm}, seed {c.seed}: {c.model.path} ({c.model.dtype})"]
    lines.append(f"  placement on {plan.gpus} GPU(s){size}, {c.runtime.graders} graders per node on CPUs")
    for actor in plan.actors:
        where = "GPU " + ", ".join(map(str, actor.gpus)) if actor.gpus else "CPU"
        lines.append(f"    {actor.name:<10} {where:<8} share {actor.share:g}")
    lines += [*_per_gpu(plan)] if plan.memory_gib else []
    lines += [
        f"  per update: {r.prompts} prompts x {r.samples} = {r.prompts * r.samples} rollouts; at most {plan.sampled_tokens:,}"
        f" sampled tokens, {plan.learner_tokens:,} tokens per learner pass ({', '.join(one.name for one in passes(c))})",
        f"  per publish: {plan.publish_bytes:,} B ({plan.publish_bytes / 2**20:.0f} MiB) = {p:,} LoRA parameters per rank x {b} B"
        f" x rank {plan.publish_bytes // p // b} (train 4r, deploy {'4r' if c.lora.deploy == 'both' else '2r'})",
        "  learner memory:",
        *_table(learner_terms(c, shape)),
        f"  engine memory, per GPU of an engine{' (1 of ' + str(tp) + ')' if tp > 1 else ''}:",
        *_table([*engine_terms(c, shape), kv_need(c, shape)]),
    ]
    if plan.kv_bytes:
        tokens = plan.kv_bytes // kv_per_token(c, shape)
        share = f"{c.runtime.engine_memory:g} x {plan.memory_gib:g} GiB less the terms above it"
        lines.append(
            f"  KV cache: {plan.kv_bytes / GIB:.2f} GiB ({share}) = {tokens:,} tokens = {tokens // longest(c)} whole rollouts"
        )
    lines += render_time(c, shape, plan.memory_gib, plan.publish_bytes, plan.kv_bytes) if plan.gpus else []
    return "\n".join([*lines, *(f"  note: {note}" for note in plan.notes)])


def _per_gpu(plan: Plan) -> list[str]:
    """What each GPU holds: a learner's terms, and the fraction that an engine takes whatever the others do."""
    share = plan.config.runtime.engine_memory
    learner = sum(t.bytes for t in learner_terms(plan.config, plan.shape)) / GIB
    lines = []
    for gpu in range(plan.gpus):
        here = [a.name for a in plan.actors if gpu in a.gpus]
        held = [share * plan.memory_gib if name.startswith("engine") else learner for name in here]
        parts = " + ".join(f"{name} {gib:.2f}" for name, gib in zip(here, held, strict=True))
        lines.append(f"    GPU {gpu}: {parts or 'nothing'} = {sum(held):.2f} of {plan.memory_gib:g} GiB")
    return [f"  memory by GPU (an engine takes runtime.engine_memory = {share:g} of its own):", *lines] if lines else []


def _table(terms: list[Term]) -> list[str]:
    rows = [*terms, Term("sum", sum(t.bytes for t in terms), "")]
    return [f"    {t.name:<14} {t.bytes / GIB:8.2f} GiB  {t.formula}".rstrip() for t in rows]
