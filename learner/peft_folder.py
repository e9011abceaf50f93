"""A PEFT folder on the disk. Invariant: it is written whole, never over another, and writing it needs no torch."""

import json
from pathlib import Path

from vgrout.errors import UserError
from vgrout.files import write_json, write_whole


def adapter_config(base_model: str, rank: int, targets: tuple[str, ...]) -> dict[str, object]:
    """PEFT's adapter_config.json for a plain LoRA of `rank` with alpha = rank."""
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_model,
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": list(targets),
        "inference_mode": True,
    }


def write_peft(folder: Path, tensors: bytes, config: dict[str, object]) -> None:
    """Write a PEFT folder whole: the weights first, the config that makes it loadable last.

    Raises UserError where the folder already holds an adapter (an export is never overwritten silently).
    """
    if (folder / "adapter_config.json").exists():
        raise UserError(str(folder), "an existing adapter", "a folder without one; remove it or choose another")
    write_whole(folder / "adapter_model.safetensors", tensors)
    write_json(folder / "adapter_config.json", json.loads(json.dumps(config)))
