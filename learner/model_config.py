"""The config.json of a base model as transformers reads it, and what its weight files hold, before any weight is loaded.

Invariant: a folder that transformers cannot make a model of is a UserError that names it, never another exception.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub.errors import StrictDataclassError

from vgrout.errors import UserError
from vgrout.rows import Row

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError, StrictDataclassError)
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
INDEX = ".index.json"
PLAIN = ("qwen3",)  # model types of which a folder's files say all that the driver asks; the tests compare with transformers
COUNTS = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "head_dim", "max_position_embeddings",
)  # fmt: skip
LARGEST_HEADER = 100_000_000  # bytes, as safetensors has it


def plain_config(path: str) -> Row | None:
    """config.json of a folder that says all by itself, in whole positive numbers; None where transformers has to look."""
    try:
        about = json.loads((Path(path).expanduser() / "config.json").read_text())
        whole = all(type(about[name]) is int and about[name] > 0 for name in COUNTS)
        layers = about.get("layer_types") or ["full_attention"] * about["num_hidden_layers"]
        plain = about["model_type"] in PLAIN and "auto_map" not in about and len(layers) == about["num_hidden_layers"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return about if whole and plain else None


def read_config(path: str) -> "PreTrainedConfig":
    """The config of a model folder or hub id. Raises UserError where transformers cannot read it."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(path)
    except UNREADABLE as error:
        raise UserError(f"model.path {path}", first_line(error), "a config.json that transformers can read") from None


def first_line(error: Exception) -> str:
    """What an exception says, or its name, in one line; of a library's wrapper, what it wraps."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if isinstance(error, StrictDataclassError) and lines else (lines or [type(error).__name__])[0])[:300]


def check_weights(path: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise UserError for a model folder whose weight files are missing, torn, quantised, or of other shapes than the model's.

    Only the header of a safetensors file is read: it says how long the file is. A hub id is checked when it is loaded.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        return
    plain = plain_config(path)
    if quantised := plain.get("quantization_config") if plain else getattr(read_config(path), "quantization_config", None):
        method = quantised.get("quant_method") if isinstance(quantised, dict) else quantised
        raise UserError(f"model.path {path}", f"a quantised base ({method})", "weights in bfloat16 or float32: a LoRA is trained")
    for file in _weight_files(folder):
        if not file.is_file():
            raise UserError(str(file), "no such file", "the weights that the index names")
        for name, shape in _header(file).items() if file.suffix == ".safetensors" else ():
            if shapes.get(name, shape) != shape:
                raise UserError(f"{file}: {name}", f"a tensor of {shape}", f"{shapes[name]}, as config.json has it")


def _weight_files(folder: Path) -> list[Path]:
    for name in WEIGHTS:
        if (index := folder / (name + INDEX)).is_file():
            try:
                names = sorted({str(name) for name in json.loads(index.read_bytes())["weight_map"].values()})
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise UserError(str(index), f"no index of weights ({error})", "weight_map: tensor to file") from None
            return [folder / name for name in names]
        if (folder / name).is_file():
            return [folder / name]
    raise UserError(f"model.path {folder}", "no weights", f"{' or '.join(WEIGHTS)}, or an index of several")


def _header(file: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of a safetensors file's tensors by name. Raises UserError where it is not whole."""
    size = file.stat().st_size
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            about = json.loads(opened.read(length)) if length <= min(size, LARGEST_HEADER) else {}
        about.pop("__metadata__", None)
        end = 8 + length + max(one["data_offsets"][1] for one in about.values())
        shapes = {name: tuple(one["shape"]) for name, one in about.items()}
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        end, shapes = -1, {}
    if end != size:
        raise UserError(str(file), f"{size} bytes that are no whole safetensors file", "whole weights")
    return shapes
