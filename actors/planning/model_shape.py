"""The shape of a base model: parameters, LoRA parameters and KV bytes, read off the model itself, built without weights.

Invariant: counts are those of the modules that transformers builds from the model's config.json (on torch's meta device) and
that lora2r wraps; nothing is downloaded. Any architecture that transformers builds a causal language model of has a shape.
"""

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from actors.planning.known_models import KNOWN
from vgrout.errors import UserError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedConfig, PreTrainedModel

SPLIT_BY_INPUT = ("o_proj", "down_proj", "c_proj", "dense", "dense_4h_to_h", "fc2")  # the others are split by their outputs


@dataclass(frozen=True)
class Linear:
    """A Linear module of the layers: its last name and its features."""

    name: str
    d_in: int
    d_out: int


@dataclass(frozen=True)
class ModelShape:
    """The sizes of a causal language model. `linears` are the Linear modules of all layers, without the head."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    mlp: int  # features of one layer's MLP that a token passes through (of all experts that it goes to)
    mlp_kept: int  # features that a layer's MLP keeps per token for its backward: gate, up and their product, or two
    norms: int  # features that one layer's norms take per token, summed
    parameters: int
    active: int  # parameters that a token is multiplied with: the head is, the embedding and idle experts are not
    linears: tuple[Linear, ...]
    tensors: Mapping[str, tuple[int, ...]] = field(default_factory=dict, repr=False)  # the sizes of each, by name

    def targets(self, names: tuple[str, ...]) -> list[Linear]:
        """The modules that lora2r wraps. Raises UserError for a name that no Linear has."""
        found = [linear for linear in self.linears if linear.name in names]
        unknown = sorted(set(names) - {linear.name for linear in found})
        if unknown:
            known = ", ".join(dict.fromkeys(linear.name for linear in self.linears))
            raise UserError("lora.targets", ", ".join(unknown), f"Linear modules of the model: {known}")
        return found

    def lora_per_rank(self, targets: tuple[str, ...], tp: int = 1) -> int:
        """LoRA parameters per rank over all layers: the sum of in + out of the target modules.

        With `tp` GPUs: those of one GPU. A module that is split by its outputs has B split and A whole, one that is split by
        its inputs the reverse (vLLM without `fully_sharded_loras`).
        """
        sides = ((m.d_in, m.d_out, m.name in SPLIT_BY_INPUT) for m in self.targets(targets))
        return sum(i // tp + o if by_input else i + o // tp for i, o, by_input in sides)

    def kv_per_token(self, width: int) -> int:
        """Bytes of keys and values per token at `width` bytes per number."""
        return 2 * self.layers * self.kv_heads * self.head_dim * width


@functools.lru_cache(maxsize=32)
def shape_of(path: str) -> ModelShape:
    """The shape of `model.path`: a folder with config.json, a model in the hub's cache, or one of `known_models`.

    Raises UserError where there is no config, or no causal language model can be built from it.
    """
    return measure(read_config(path), path)


def read_config(path: str) -> "PreTrainedConfig":
    """The transformers config of `model.path`, from this machine alone. Raises UserError."""
    from huggingface_hub import try_to_load_from_cache
    from transformers import AutoConfig

    from learner.model_config import read_config as read_model_config

    folder = Path(path).expanduser()
    if path.startswith(("/", ".", "~")) or folder.is_dir():
        file = folder / "config.json"
    else:
        try:
            cached = try_to_load_from_cache(path, "config.json")
        except ValueError:  # not the form of an id
            cached = None
        if not isinstance(cached, str) and path in KNOWN:
            return AutoConfig.for_model(**KNOWN[path])
        file = Path(cached) if isinstance(cached, str) else folder / "config.json"
    if not file.is_file():
        raise UserError(
            "model.path", f"{path} (no config.json there, and none downloaded)",
            f"a model folder; or download it first (`hf download {path} config.json`); or one of {', '.join(KNOWN)}",
        )  # fmt: skip
    try:
        about = json.loads(file.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(str(file), f"invalid JSON ({error})", "a Hugging Face config.json") from None
    if not isinstance(about, dict) or not isinstance(about.get("model_type"), str):
        raise UserError(f"{file}: model_type", repr(about)[:60], "the name of an architecture")
    return read_model_config(str(file.parent))


def measure(config: "PreTrainedConfig", where: str = "config") -> ModelShape:
    """Build the model on the meta device and count. Raises UserError where transformers has no causal language model of it."""
    import torch
    from transformers import AutoModelForCausalLM

    from learner.model_config import UNREADABLE, first_line

    try:
        with torch.device("meta"):
            model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    except UNREADABLE as error:
        raise UserError(f"model.path {where}", first_line(error), "a config of a causal language model") from None
    if any(name.rpartition(".")[2] == "sinks" for name, _ in model.named_parameters()):
        expected = "an architecture without them: the learner's packed attention does not compute them"
        raise UserError(f"model.path {where}", f"attention sinks ({config.model_type})", expected)
    text = config.get_text_config()
    layers, hidden, heads = text.num_hidden_layers, text.hidden_size, text.num_attention_heads
    kv_heads = getattr(text, "num_key_value_heads", None) or heads
    head_dim = getattr(text, "head_dim", None) or hidden // heads
    parameters = sum(p.numel() for p in model.parameters())
    head = model.get_output_embeddings()
    linears = tuple(Linear(n.rsplit(".", 1)[-1], m.in_features, m.out_features) for n, m in _linears(model) if m is not head)
    first = [(n, m) for n, m in model.named_modules() if _is_norm(m) and _layer_of(n) == "0"]
    norms = sum(_norm_width(n, m, heads, kv_heads, head_dim) for n, m in first)
    mlp, kept = _mlp_width(text, model)
    embedding = model.get_input_embeddings().get_parameter("weight").numel()
    tied = head is not None and head.weight is model.get_input_embeddings().weight
    return ModelShape(
        layers=layers, hidden=hidden, heads=heads, kv_heads=kv_heads, head_dim=head_dim, vocabulary=text.vocab_size,
        mlp=mlp, mlp_kept=kept, norms=norms, parameters=parameters,
        active=parameters - (0 if tied else embedding) - _idle(text, model), linears=linears,
        tensors={name: tuple(tensor.shape) for name, tensor in model.state_dict().items()},
    )  # fmt: skip


def _linears(model: "PreTrainedModel") -> Iterator[tuple[str, "nn.Linear"]]:
    from torch import nn

    return ((n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear))


def _is_norm(module: "nn.Module") -> bool:
    return type(module).__name__.endswith("Norm") and hasattr(module, "weight")


def _layer_of(name: str) -> str:
    """Number of the layer that a module belongs to; empty outside the layers."""
    return next((part for part in name.split(".") if part.isdigit()), "")


def _norm_width(name: str, module: "nn.Module", heads: int, kv_heads: int, head_dim: int) -> int:
    """Features per token that a norm takes. One of queries or keys with a head's width is applied to every head."""
    width = sum(p.numel() for own, p in module.named_parameters(recurse=False) if own == "weight")
    leaf = name.rsplit(".", 1)[-1]
    if leaf.startswith("q_") and width == head_dim:
        return width * heads
    return width * kv_heads if leaf.startswith("k_") and width == head_dim else width


def _mlp_width(text: "PreTrainedConfig", model: "PreTrainedModel") -> tuple[int, int]:
    """(features of the MLP, features kept) of one layer, from its Linear modules or from its experts."""
    if active := getattr(text, "num_experts_per_tok", None):
        width = active * (getattr(text, "moe_intermediate_size", None) or text.intermediate_size)
        return width, 3 * width
    first = [(n, m) for n, m in _linears(model) if _layer_of(n) == "0" and ".mlp." in f".{n}."]
    if not first:
        width = getattr(text, "intermediate_size", None) or 4 * text.hidden_size
        return width, 2 * width
    width = first[-1][1].in_features  # the last Linear leads back to the hidden size
    into = sum(m.out_features for _, m in first[:-1])
    return width, into + width


def _idle(text: "PreTrainedConfig", model: "PreTrainedModel") -> int:
    """Parameters of the experts that a token does not go to."""
    experts = getattr(text, "num_experts", None) or getattr(text, "num_local_experts", None)
    active = getattr(text, "num_experts_per_tok", None)
    if not experts or not active:
        return 0
    held = sum(p.numel() for n, p in model.named_parameters() if ".experts." in n)
    return held - held * active // experts
