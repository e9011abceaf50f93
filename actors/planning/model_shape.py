"""The shape of a base model: parameters, LoRA parameters and KV bytes, from its `config.json` or from a built-in entry.

Invariant: counts are exact (they equal what transformers builds and lora2r wraps), and nothing is downloaded.
Sources: Qwen3 (Yang et al. 2025, arXiv 2505.09388) and the published config.json of Qwen/Qwen3-4B.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vgrout.errors import UserError


@dataclass(frozen=True)
class ModelShape:
    """A Qwen3-like decoder: `layers` x (q, k, v, o, gate, up, down), RMSNorms, an embedding, a head that may be tied to it."""

    layers: int
    hidden: int
    mlp: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    tied: bool

    def linears(self) -> dict[str, tuple[int, int]]:
        """(in, out) features of one layer's Linear modules."""
        q, k = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return {
            "q_proj": (self.hidden, q),
            "k_proj": (self.hidden, k),
            "v_proj": (self.hidden, k),
            "o_proj": (q, self.hidden),
            "gate_proj": (self.hidden, self.mlp),
            "up_proj": (self.hidden, self.mlp),
            "down_proj": (self.mlp, self.hidden),
        }

    def parameters(self) -> int:
        """All weights of the base."""
        layer = sum(i * o for i, o in self.linears().values()) + 2 * self.hidden + 2 * self.head_dim
        return self.layers * layer + self.vocabulary * self.hidden * (1 if self.tied else 2) + self.hidden

    def lora_per_rank(self, targets: tuple[str, ...], tp: int = 1) -> int:
        """LoRA parameters per rank over all layers: the sum of in + out of the target modules.

        With `tp` GPUs: those of one GPU. A module that is split by its outputs has B split and A whole, one that is split by
        its inputs the reverse (vLLM without `fully_sharded_loras`).
        """
        linears = self.linears()
        unknown = [name for name in targets if name not in linears]
        if unknown:
            raise UserError("lora.targets", ", ".join(unknown), f"some of {', '.join(linears)}")
        sides = ((linears[name], name in SPLIT_BY_INPUT) for name in targets)
        return self.layers * sum(i // tp + o if by_input else i + o // tp for (i, o), by_input in sides)

    def kv_per_token(self, width: int) -> int:
        """Bytes of keys and values per token at `width` bytes per number."""
        return 2 * self.layers * self.kv_heads * self.head_dim * width


SPLIT_BY_INPUT = ("o_proj", "down_proj")  # tensor parallelism splits the others by their outputs
QWEN3_4B = ModelShape(36, 2560, 9728, 32, 8, 128, 151936, tied=True)
BUILT_IN = {"Qwen/Qwen3-4B": QWEN3_4B}
FIELDS = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads")


def shape_of(path: str) -> ModelShape:
    """The shape of `model.path`: a folder with config.json, or a built-in id. Raises UserError for any other."""
    if path in BUILT_IN:
        return BUILT_IN[path]
    file = Path(path).expanduser() / "config.json"
    if not file.is_file():
        known = ", ".join(BUILT_IN)
        raise UserError("model.path", f"{path} (no config.json there)", f"a model folder, or a built-in shape ({known})")
    try:
        return parse_shape(json.loads(file.read_text()), str(file))
    except json.JSONDecodeError as error:
        raise UserError(str(file), f"invalid JSON ({error})", "a Hugging Face config.json") from None


def parse_shape(about: dict[str, Any], where: str) -> ModelShape:
    """The shape in a config.json's content. Raises UserError for another architecture or a missing field."""
    if about.get("model_type") != "qwen3":
        raise UserError(f"{where}: model_type", repr(about.get("model_type")), "'qwen3' (the plan knows this architecture)")
    missing = [name for name in (*FIELDS, "vocab_size") if not isinstance(about.get(name), int)]
    if missing:
        raise UserError(f"{where}: {missing[0]}", repr(about.get(missing[0])), "a whole number")
    layers, hidden, mlp, heads, kv_heads = (about[name] for name in FIELDS)
    head_dim = about.get("head_dim") or hidden // heads
    return ModelShape(layers, hidden, mlp, heads, kv_heads, head_dim, about["vocab_size"], bool(about.get("tie_word_embeddings")))
