"""PEFT exports of the adapter as plain LoRA: the deployed block alone, or both blocks.

Invariant: the export of a block is `[B-B0 | B0] [A ; A-A0]` with alpha = rank, so PEFT and vLLM compute exactly
`(B-B0) A + B0 (A-A0)` without knowing this project, and the deploy export holds no number of the quarantine.
Shapes: I, O features; R rank of one block.
"""

import torch
from safetensors.torch import save
from torch import Tensor

from learner.lora2r import Factors
from vgrout.lora_ranks import BLOCKS

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def block_tensors(f: Factors, rank: int, starts: list[int]) -> tuple[Tensor, Tensor]:
    """(A, B) of plain LoRA for the blocks that begin at rows `starts`: [K, I] and [O, K], K = 2R x blocks."""
    rows, columns = [], []
    for s in (slice(start, start + rank) for start in starts):
        rows += [f.a_SI[s], f.a_SI[s] - f.a0_SI[s]]
        columns += [f.b_OS[:, s] - f.b0_OS[:, s], f.b0_OS[:, s]]
    return torch.cat(rows).cpu(), torch.cat(columns, dim=1).cpu()


def peft_tensors(factors: dict[str, Factors], rank: int, blocks: int) -> dict[str, Tensor]:
    """PEFT state dict of the first `blocks` blocks (1: deployed, 2: both). New tensors, never views of trained ones."""
    tensors = {}
    for name, module in factors.items():
        a_KI, b_OK = block_tensors(module, rank, [rank * block for block in range(blocks)])
        tensors[f"base_model.model.{name}.lora_A.weight"] = a_KI.contiguous()
        tensors[f"base_model.model.{name}.lora_B.weight"] = b_OK.contiguous()
    return tensors


def peft_bytes(factors: dict[str, Factors], rank: int, blocks: int, dtype: str = "fp32") -> bytes:
    """The safetensors file of the first `blocks` blocks as bytes (deterministic for the same adapter)."""
    tensors = {k: v.to(DTYPES[dtype]) for k, v in peft_tensors(factors, rank, blocks).items()}
    return save(tensors, metadata={"format": "pt"})


def both_exports(factors: dict[str, Factors], rank: int, deployed_blocks: int) -> tuple[bytes, bytes]:
    """The files of the train and the deploy export; one object where the arm deploys both blocks."""
    train = peft_bytes(factors, rank, BLOCKS)
    return train, train if deployed_blocks == BLOCKS else peft_bytes(factors, rank, deployed_blocks)
