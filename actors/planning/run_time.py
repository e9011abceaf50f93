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
from vgrout.config import Config, PinnedGate, ScoringGate
from vgrout.lora_ranks import BLOCKS
from vgrout.records import GateLabel


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
ADAPTER_SHARE = 0.15  # of the peak, in the adapter's narrow products (rank 2r and 4r), in the base's precision
ENGINE_SHARE = 0.4  # of the peak, while prompts are read
BANDWIDTH_SHARE = 0.6  # of the memory's, while tokens are decoded
STEP_S = 0.004  # of vLLM's host code per decode step, LoRA included
GRADE_S = 0.03  # per program and grader (docs/results/grader: 8 ms for most, seconds for a few)
# Publishing, both sides: serialise, hash, put; pull, hash, write, load. Of `bench.publish --layers 12` on 2 busy CPU cores,
# without the canaries' forward passes, which a GPU makes in no time.
LEARNER_PUBLISH_S = 4.8e-9  # per byte
ENGINE_LOAD_S = 4.2e-9


@dataclass(frozen=True)
class Seconds:
    """One part of an update's time."""

    name: str
    seconds: float
    formula: str


@dataclass(frozen=True)
class Pass:
    """A pass of the learner over the batch, in forwards of one rollout's layers, of the head, and of one block of the adapter.

    `prompts`: how often a group's prompt is computed, as a share of its rollouts (1: with every rollout).
    """

    name: str
    layers: float
    head: float
    adapter: float
    prompts: float = 1.0


def card(memory_gib: float) -> Gpu:
    """The card whose rates stand for GPUs of this memory: the largest that is not larger, or the smallest."""
    return max((g for g in GPUS if g.gib <= memory_gib + 1), key=lambda g: g.gib, default=GPUS[0])


def passes(config: Config) -> list[Pass]:
    """What an update runs over its batch (learner/ahead.py, fixed_terms.py, policy_gradient.py).

    The base is frozen: its backward costs one forward, and checkpointing one more of the layers; the head is always computed
    again. A trained block's backward costs one and a half of its forwards. Bounds: every rollout trains both blocks, where the
    gate can say so, and every rollout that another policy wrote needs the forward pass of its own for its importance weights.
    """
    again = 1 if config.train.gradient_checkpointing else 0
    gate, objective, samples = config.gate, config.objective, config.rollout.samples
    pinned = gate.pin if isinstance(gate, PinnedGate) else None
    blocks = 1 if pinned is GateLabel.CLEAN else BLOCKS
    split = math.ceil(samples / _together(config)) - 1  # more prompts of a group whose completions do not fit one micro-batch
    shared = (1 + split) / samples
    probed = shared if config.probes_completions else 1.0
    by_label = min(samples, (1 if pinned else len(GateLabel)) + split) / samples
    found = []
    if config.c_probes_at == "initial":
        kl = ", KL reference" if objective.kl else ""
        r = config.rollout
        extra = 0 if (r.temperature, r.top_k, r.top_p) == (1, 0, 1) else 1  # the reference is of what was sampled from
        found.append(Pass(f"base: c-probe{kl}", 2 + again, 3 + extra, 0.5 + 0.25 * again, probed))
    else:
        if isinstance(gate, ScoringGate):
            found.append(Pass("c-probe, deployed block", 2 + again, 3, 2.5 + 1.25 * again, probed))
        if objective.kl:
            found.append(Pass("base: KL reference", 1, 1, 0, shared))
    fraction = config.rollout.deploy_fraction
    told = config.c_probes_at == "current" and fraction == 1  # the c-probe's pass computes them
    if (not told) if pinned is None else (fraction > 0 and blocks == BLOCKS):
        found.append(Pass("importance weights, at most", 1, 1, BLOCKS, by_label))
    epochs = objective.epochs
    name = "update, forward and backward" + (f" x {epochs}" if epochs > 1 else "")
    found.append(Pass(name, epochs * (2 + again), epochs * 3, epochs * blocks * (2.5 + again), by_label))
    return found


def _together(config: Config) -> int:
    """Rollouts of full length of one group that a micro-batch holds beside their prompt."""
    return max(1, (config.train.micro_tokens - config.rollout.prompt_limit) // config.rollout.max_new_tokens)


def learner_seconds(config: Config, shape: ModelShape, gpu: Gpu, prompt: float, completion: float) -> list[Seconds]:
    """Seconds of one learner pass after the other for one rollout of `prompt` + `completion` tokens."""
    weights = shape.vocabulary * shape.hidden
    head = completion * 2 * weights  # logits exist for completion tokens only
    per_pair = 4 * shape.heads * shape.head_dim * shape.layers  # of a token and one that it sees
    per_token = 4 * config.lora.rank * shape.lora_per_rank(config.lora.targets)  # [A; A-A0] and [B-B0 | B0] of one block
    peak = gpu.bf16 if config.model.dtype == "bfloat16" else gpu.fp32
    found = []
    for one in passes(config):
        prompts = one.prompts * prompt
        pairs = prompts * prompt / 2 + completion * (prompt + completion / 2)
        layers = (prompts + completion) * 2 * (shape.active - weights) + pairs * per_pair
        adapter = (prompts + completion) * per_token
        base = one.layers * layers + one.head * head
        seconds = base / (peak * LEARNER_SHARE) + one.adapter * adapter / (peak * ADAPTER_SHARE)
        formula = f"{one.layers:g} x {layers / 1e12:.2f} TFLOP + head {one.head:g} x {head / 1e12:.2f}"
        formula += f" + adapter {one.adapter:g} x {adapter / 1e12:.2f} per rollout"
        found.append(Seconds(one.name, seconds, formula))
    return found


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
        Seconds("load", publish_bytes * ENGINE_LOAD_S, f"{publish_bytes / 1e9:.2f} GB x {ENGINE_LOAD_S * 1e9:g} s"),
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
