"""GPU memory of one learner and of one engine, term by term, with each term's formula.

Invariant: terms are upper estimates of what is alive at the peak of an update; weights, adapter, gradients, optimizer
and KV bytes are exact. `activations` was counted tensor by tensor on the CPU at a small shape (tests/learner/test_memory.py:
bytes that a layer keeps; bench/memory.py: the peak of whole updates); on a GPU nothing was measured, `step` and `runtime` least.
Letters: T tokens of a micro-batch, D hidden, Q and K query and key features, F MLP, V vocabulary, L layers, r rank of one
block, p LoRA parameters per rank, b bytes per number of the base.
"""

from dataclasses import dataclass

from actors.planning.adapter_slots import lora_limit, slots
from actors.planning.model_shape import ModelShape
from vgrout.config import Config
from vgrout.lora_ranks import export_rank
from vgrout.token_limits import CHUNK_TOKENS, ENGINE_STEP_TOKENS

GIB = 2**30
WIDTH = {"float32": 4, "bfloat16": 2}
RUNTIME_LEARNER = 1 * GIB  # CUDA context, cuBLAS workspace, allocator slack
RUNTIME_ENGINE = 2 * GIB  # the same and CUDA graphs


@dataclass(frozen=True)
class Term:
    """One part of a process's memory."""

    name: str
    bytes: int
    formula: str


def longest(config: Config) -> int:
    """Tokens of the longest rollout."""
    return config.rollout.prompt_limit + config.rollout.max_new_tokens


def layer_bytes_per_token(config: Config, shape: ModelShape) -> int:
    """Bytes that one layer keeps for its backward, per token: norms, adapter inputs and bottlenecks, attention, MLP."""
    b = WIDTH[config.model.dtype]
    q, k = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    targets = shape.targets(config.lora.targets)
    adapter_inputs = b * (2 * shape.hidden + q + shape.mlp)  # shared by the modules that read the same hidden state
    bottlenecks = b * export_rank(config.lora.rank) * len(targets) // shape.layers
    return 4 * shape.norms + adapter_inputs + bottlenecks + b * (2 * q + 2 * k) + b * shape.mlp_kept


def rollouts_at_once(config: Config, tokens: int) -> int:
    """The most rollouts of full length in a micro-batch of `tokens` tokens: whole groups with one prompt each, or a part of one.

    Shorter completions are more rollouts, and more copies of prompts than are planned for.
    """
    r = config.rollout
    group = r.prompt_limit + r.samples * r.max_new_tokens
    if group <= tokens:
        return r.samples * min(r.prompts, tokens // group)
    return max(1, (tokens - r.prompt_limit) // r.max_new_tokens)


def copied_bytes(config: Config, shape: ModelShape, tokens: int) -> int:
    """Bytes that one layer keeps beyond its tokens': in attention every rollout has its prompt's keys and values again.

    On a GPU these and the completion's are repeated for every query head.
    """
    b, r = WIDTH[config.model.dtype], config.rollout
    kept = (shape.heads if config.runtime.learner_gpus else shape.kv_heads) * shape.head_dim
    of_prompt, of_completion = r.prompt_limit * kept, r.max_new_tokens * (kept - shape.kv_heads * shape.head_dim)
    return rollouts_at_once(config, tokens) * 2 * (of_prompt + of_completion) * b


def logit_bytes(config: Config) -> int:
    """Bytes alive per logit of a chunk at the head's peak (learner/density.py), counted on the CPU."""
    if config.rollout.top_p < 1:
        return WIDTH[config.model.dtype] + 21  # the head's own, fp32 and a mask; a masked copy, sorted, with 8 bytes of places
    return 13 if config.rollout.top_k else 12  # three fp32 tensors of the logits' shape; a mask


def activation_bytes(config: Config, shape: ModelShape, tokens: int) -> tuple[int, str]:
    """(bytes, formula) of the largest micro-batch of `tokens` tokens, forward and backward."""
    b = WIDTH[config.model.dtype]
    layer, copies = layer_bytes_per_token(config, shape), copied_bytes(config, shape, tokens)
    widest = max(shape.mlp, shape.heads * shape.head_dim)
    workspace = widest * 4 * b  # the base's output and the branch's, and their gradients
    head = min(CHUNK_TOKENS, tokens) * shape.vocabulary * logit_bytes(config)
    if config.train.gradient_checkpointing:
        kept = tokens * (shape.layers + 2) * shape.hidden * b
        total = kept + max(tokens * (layer + workspace) + copies, head)
        return total, f"T (L+2) D b + max(T ({layer} layer + {workspace} workspace) + {copies} copies, head); T = {tokens}"
    total = shape.layers * (tokens * layer + copies) + max(tokens * workspace, head)
    return total, f"L (T {layer} + {copies} copies) + max(T {workspace} workspace, head); T = {tokens}"


def learner_terms(config: Config, shape: ModelShape) -> list[Term]:
    """What a learner holds at the peak of an update."""
    b, r = WIDTH[config.model.dtype], config.lora.rank
    adapter = 2 * r * shape.lora_per_rank(config.lora.targets) * 4
    activations, formula = activation_bytes(config, shape, max(config.train.micro_tokens, longest(config)))
    return [
        Term("weights", shape.parameters * b, f"{shape.parameters:,} parameters x {b} B"),
        Term("adapter", 2 * adapter, "A, B, A0, B0: 2 x 2r p x 4 B"),
        Term("gradients", adapter, "2r p x 4 B"),
        Term("optimizer", 3 * adapter, "AdamW's two moments and one temporary: 3 x 2r p x 4 B"),
        Term("runtime", RUNTIME_LEARNER, "CUDA context and allocator, estimate"),
        Term("activations", activations, formula),
    ]


def kv_per_token(config: Config, shape: ModelShape) -> int:
    """Bytes of keys and values per token on one GPU of an engine; a KV head is never split over GPUs."""
    heads = max(1, shape.kv_heads // config.runtime.engine_tp)
    return shape.kv_per_token(WIDTH[config.model.dtype]) * heads // shape.kv_heads


def engine_terms(config: Config, shape: ModelShape) -> list[Term]:
    """What one GPU of an engine holds before any keys and values."""
    b, f, d, tp = WIDTH[config.model.dtype], shape.mlp, shape.hidden, config.runtime.engine_tp
    adapters = slots(config) * lora_limit(config) * shape.lora_per_rank(config.lora.targets, tp) * b
    sequences = config.runtime.max_num_seqs
    step = max(ENGINE_STEP_TOKENS, longest(config)) * (3 * f // tp + 4 * d) * b + sequences * shape.vocabulary * 12
    share = f" / {tp}" if tp > 1 else ""
    return [
        Term("weights", shape.parameters * b // tp, f"{shape.parameters:,} parameters x {b} B{share}"),
        Term(
            "adapter slots",
            adapters,
            f"{slots(config)} slots x rank {lora_limit(config)} x p{' (one side split)' if tp > 1 else ''} x {b} B",
        ),
        Term("runtime", RUNTIME_ENGINE, "CUDA context and graphs, estimate"),
        Term("step", step, f"batched tokens x (3F{share} + 4D) b + sequences x V x 12 B, estimate"),
    ]


def kv_cache_bytes(config: Config, shape: ModelShape, total: float) -> int:
    """Keys and values of one engine: what its share of a GPU of `total` bytes leaves, and no more than its sequences can fill."""
    left = int(config.runtime.engine_memory * total) - sum(t.bytes for t in engine_terms(config, shape))
    return min(left, config.runtime.max_num_seqs * longest(config) * kv_per_token(config, shape))


def kv_need(config: Config, shape: ModelShape) -> Term:
    """The smallest KV cache that vLLM accepts: one rollout of full length."""
    per_token = kv_per_token(config, shape)
    return Term("KV cache", longest(config) * per_token, f"{longest(config)} tokens x {per_token:,} B (one full-length rollout)")
