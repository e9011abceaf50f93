"""PEFT exports of the adapter as plain LoRA: the deployed block alone, or both blocks.

Invariant: the export of a block is `[B-B0 | B0] [A ; A-A0]` with alpha = rank, so PEFT and vLLM compute exactly
`(B-B0) A + B0 (A-A0)` without knowing this project, and the deploy export holds no number of the quarantine.
Shapes: I, O features; S rank of both blocks.
"""

import torch
from safetensors.torch import save
from torch import Tensor

from learner.lora2r import Factors
from vgrout.lora_ranks import BLOCKS, export_rank

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def peft_tensors(factors: dict[str, Factors], rank: int, blocks: int, dtype: str = "fp32") -> dict[str, Tensor]:
    """PEFT state dict of the first `blocks` blocks (1: deployed, 2: both). New tensors on the CPU, never views of trained ones.

    Differences are taken in float32, and rounded to `dtype` afterwards, before they leave the GPU.
    """
    tensors = {}
    for name, f in factors.items():
        rows, columns = [], []
        for s in (slice(start, start + rank) for start in range(0, rank * blocks, rank)):
            rows += [f.a_SI[s], f.a_SI[s] - f.a0_SI[s]]
            columns += [f.b_OS[:, s] - f.b0_OS[:, s], f.b0_OS[:, s]]
        tensors[f"base_model.model.{name}.lora_A.weight"] = torch.cat(rows).to(DTYPES[dtype]).cpu()
        tensors[f"base_model.model.{name}.lora_B.weight"] = torch.cat(columns, dim=1).to(DTYPES[dtype]).cpu()
    return tensors


def peft_bytes(factors: dict[str, Factors], rank: int, blocks: int, dtype: str = "fp32") -> bytes:
    """The safetensors file of the first `blocks` blocks as bytes (deterministic for the same adapter)."""
    return _file(peft_tensors(factors, rank, blocks, dtype))


def both_exports(factors: dict[str, Factors], rank: int, deployed_blocks: int, dtype: str = "fp32") -> tuple[bytes, bytes]:
    """The files of the train and the deploy export; one object where the arm deploys both blocks."""
    whole = peft_tensors(factors, rank, BLOCKS, dtype)
    train = _file(whole)
    if deployed_blocks == BLOCKS:
        return train, train
    ranks = export_rank(rank, deployed_blocks)
    return train, _file({k: v[:ranks] if "lora_A" in k else v[:, :ranks].contiguous() for k, v in whole.items()})


def _file(tensors: dict[str, Tensor]) -> bytes:
    return save(tensors, metadata={"format": "pt"})
