"""How long an update and a run take, term by term: FLOPs and bytes over a GPU's published peak rates times an assumed share.

Invariant: nothing here was measured on a GPU. Peak rates are the makers' (dense, without sparsity); the shares of them, and the
host's seconds per byte of a publish, are named below and are the first thing to replace by measurements. Token counts are
upper bounds: every prompt and every completion at its limit.
Letters: a active parameters (those that a token is multiplied with), p LoRA parameters per rank, r rank of one block.
"""

import math
from dataclasses import dataclass

from actors.planning.gpu_memory import WIDTH, kv_per_token, longest
from actors.planning.model_shape import ModelShape
from vgrout.config import Config


@dataclass(frozen=True)
class Gpu:
    """Published rates of a card: FLOP/s in bfloat16 (dense tensor cores) and float32, bytes/s of its memory."""

    name: str
    gib: float
    bf16: float
    fp32: float
    bandwidth: float


GPUS = (
    Gpu("A10", 24, 125e12, 31e12, 0.60e12),
    Gpu("A100", 40, 312e12, 19.5e12, 1.55e12),
    Gpu("L40S", 48, 362e12, 91e12, 0.86e12),
    Gpu("H100", 80, 989e12, 67e12, 3.35e12),
    Gpu("H200", 141, 989e12, 67e12, 4.8e12),
)
LEARNER_SHARE = 0.35  # of the peak, in the base's products
ADAPTER_SHARE = 0.5  # of the float32 peak, in the adapter's
ENGINE_SHARE = 0.4  # of the peak, while prompts are read
BANDWIDTH_SHARE = 0.6  # of the memory's, while tokens are decoded
STEP_S = 0.004  # of vLLM's host code per decode step, LoRA included
GRADE_S = 0.03  # per program and grader (docs/results/grader: 8 ms for most, seconds for a few)
# Publishing, both sides: serialise, hash, put, pull, hash, write, load. 1.5 GB took 12 s and 13 s on a 2-core machine.
LEARNER_PUBLISH_S = 8.0e-9  # per byte
ENGINE_LOAD_S = 8.7e-9


@dataclass(frozen=True)
class Seconds:
    """One part of an update's time."""

    name: str
    seconds: float
    formula: str


@dataclass(frozen=True)
class Pass:
    """A pass of the learner over the batch: how many forwards' worth of the base's products, and of the adapter's rank-r ones."""

    name: str
    base: float
    adapter: float


def card(memory_gib: float) -> Gpu:
    """The card whose rates stand for GPUs of this memory: the largest that is not larger, or the smallest."""
    return max((g for g in GPUS if g.gib <= memory_gib + 1), key=lambda g: g.gib, default=GPUS[0])


def passes(config: Config) -> list[Pass]:
    """What an update runs over its batch. The base is frozen: its backward costs one forward, plus one where it is computed
    again. The adapter's costs two: both of its factors have a gradient."""
    again = 1 if config.train.gradient_checkpointing else 0
    found = []
    if config.gate.rule != "pinned":
        found.append(Pass("c-probe forward and backward", 2 + again, 1 + (0 if config.gate.probe_policy == "initial" else 2)))
    found.append(Pass("sampling policy forward", 1, 2))
    if config.objective.epochs > 1:
        found.append(Pass("old policy forward", 1, 2))
    if config.objective.kl:
        found.append(Pass("KL reference forward", 1, 0))
    epochs = config.objective.epochs
    found.append(Pass(f"update forward and backward x {epochs}", epochs * (2 + again), epochs * 2 * (3 + again)))
    return found


def learner_seconds(config: Config, shape: ModelShape, gpu: Gpu, prompt: float, completion: float) -> list[Seconds]:
    """Seconds of one learner pass after the other for one rollout of `prompt` + `completion` tokens."""
    tokens = prompt + completion
    head = shape.vocabulary * shape.hidden  # logits exist for completion tokens only
    attention = 2 * tokens * shape.heads * shape.head_dim * shape.layers  # causal: half of 4 T q per token and layer
    forward = tokens * (2 * (shape.active - head) + attention) + completion * 2 * head
    adapter = tokens * 4 * config.lora.rank * shape.lora_per_rank(config.lora.targets)  # A, A-A0, B-B0, B0 of one block
    peak = gpu.bf16 if config.model.dtype == "bfloat16" else gpu.fp32
    return [
        Seconds(
            one.name,
            one.base * forward / (peak * LEARNER_SHARE) + one.adapter * adapter / (gpu.fp32 * ADAPTER_SHARE),
            f"{one.base:g} x {forward / 1e12:.1f} TFLOP + {one.adapter:g} x {adapter / 1e12:.2f} (adapter, float32) per rollout",
        )
        for one in passes(config)
    ]


def step_seconds(config: Config, shape: ModelShape, gpu: Gpu, running: float, length: float) -> float:
    """One decode step of one engine with `running` sequences that are `length` tokens long."""
    b, tp = WIDTH[config.model.dtype], config.runtime.engine_tp
    adapter = 4 * config.lora.rank * shape.lora_per_rank(config.lora.targets, tp) * b  # one policy's, rank 4r
    bytes_ = shape.active * b / tp + adapter + running * length * kv_per_token(config, shape)
    peak = gpu.bf16 if config.model.dtype == "bfloat16" else gpu.fp32
    flops = running * 2 * (shape.active + 4 * config.lora.rank * shape.lora_per_rank(config.lora.targets)) / tp
    return STEP_S + max(bytes_ / (gpu.bandwidth * BANDWIDTH_SHARE), flops / (peak * ENGINE_SHARE))


def update_seconds(config: Config, shape: ModelShape, gpu: Gpu, publish_bytes: int, kv_bytes: int = 0) -> list[Seconds]:
    """The parts of one update at its limits: generation, grading, learner passes, publish and load.

    `kv_bytes` of one engine bound the sequences that run at one time (a group shares its prompt's); 0: not known.
    """
    r, runtime = config.rollout, config.runtime
    rollouts = r.prompts * r.samples
    running = min(runtime.max_num_seqs, math.ceil(rollouts / runtime.engines))
    if kv_bytes:
        each = r.prompt_limit / r.samples + r.max_new_tokens
        running = max(1, min(running, int(kv_bytes / kv_per_token(config, shape) / each)))
    waves = math.ceil(rollouts / (running * runtime.engines))
    step = step_seconds(config, shape, gpu, running, r.prompt_limit + r.max_new_tokens / 2)
    peak = gpu.bf16 if config.model.dtype == "bfloat16" else gpu.fp32
    prompts = r.prompts * r.prompt_limit * 2 * shape.active / (peak * ENGINE_SHARE * runtime.engines * runtime.engine_tp)
    learners = f" / {runtime.learners} learners" if runtime.learners > 1 else ""
    return [
        Seconds(
            "generation",
            waves * r.max_new_tokens * step + prompts,
            f"{waves} x {r.max_new_tokens} steps of {1e3 * step:.1f} ms ({running} sequences, {longest(config)} tokens at last)"
            f" + prompts {prompts:.1f} s",
        ),
        Seconds(
            "grading", rollouts * GRADE_S / runtime.graders, f"{rollouts} programs x {GRADE_S:g} s / {runtime.graders} graders"
        ),
        *(
            Seconds(one.name, one.seconds * rollouts / runtime.learners, f"{one.formula}, {rollouts} rollouts{learners}")
            for one in learner_seconds(config, shape, gpu, r.prompt_limit, r.max_new_tokens)
        ),
        Seconds("publish", publish_bytes * LEARNER_PUBLISH_S, f"{publish_bytes / 1e9:.2f} GB x {LEARNER_PUBLISH_S * 1e9:g} s"),
        Seconds(
            "load", publish_bytes * ENGINE_LOAD_S, f"{publish_bytes / 1e9:.2f} GB x {ENGINE_LOAD_S * 1e9:g} s (canary included)"
        ),
    ]


def wall_seconds(config: Config, parts: list[Seconds]) -> float:
    """Seconds from one update to the next: the sum in sync runs; in async runs engines and learner work at the same time."""
    engines = sum(p.seconds for p in parts if p.name in ("generation", "load"))
    learner = sum(p.seconds for p in parts if p.name not in ("generation", "load", "grading"))
    grading = sum(p.seconds for p in parts if p.name == "grading")
    return engines + learner + grading if config.runtime.mode == "sync" else max(engines, learner, grading)


def render_time(config: Config, shape: ModelShape, memory_gib: float, publish_bytes: int, kv_bytes: int) -> list[str]:
    """The time terms as lines of text."""
    gpu = card(memory_gib or 80)
    parts = update_seconds(config, shape, gpu, publish_bytes, kv_bytes)
    wall = wall_seconds(config, parts)
    how = "the sum" if config.runtime.mode == "sync" else "engines and learner side by side: the longer of the two"
    return [
        f"  time per update, every length at its limit: peak rates of one {gpu.name} ({gpu.bf16 / 1e12:g} TFLOP/s bfloat16,"
        f" {gpu.fp32 / 1e12:g} float32, {gpu.bandwidth / 1e12:g} TB/s) x assumed shares ({LEARNER_SHARE:g} learner,"
        f" {ADAPTER_SHARE:g} adapter, {BANDWIDTH_SHARE:g} bandwidth); not measured on a GPU",
        *(f"    {p.name:<32} {p.seconds:9.1f} s  {p.formula}" for p in parts),
        f"    {'one update':<32} {wall:9.1f} s  {how}",
        f"  time per run: {config.train.updates} updates = {config.train.updates * wall / 3600:.1f} h, without evaluation",
    ]
