"""Mends LoRA speed in vLLM's CPU worker: one dense matmul per distinct adapter instead of a weight copy per token.

Invariant: the values are those of the stock ops (tested against PEFT); only the CPU wrapper is touched, and only for the
vLLM version named here. The stock fallback gathers one copy of the adapter weights for every token of the batch.
"""

from typing import Any

import torch

VLLM_VERSION = "0.32.0"


def mend() -> None:
    """Replace `PunicaWrapperCPU.add_lora_linear` in this process. Does nothing on another vLLM version."""
    import vllm
    from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

    if vllm.__version__.split("+")[0] == VLLM_VERSION:
        PunicaWrapperCPU.add_lora_linear = _add_lora_linear  # pyright: ignore[reportAttributeAccessIssue]
        PunicaWrapperCPU.add_lora_logits = _add_lora_logits  # pyright: ignore[reportAttributeAccessIssue]


def _add_lora_logits(self: Any, y: torch.Tensor, *args: Any, **kwargs: Any) -> None:
    """Add nothing: no adapter of this project targets the output head.

    The stock op fails where a canary's prompt log-probabilities share a step with other requests (one index per request,
    one row per prompt token).
    """


def _add_lora_linear(
    self: Any,
    y: torch.Tensor,
    x: torch.Tensor,
    lora_a_stacked: tuple[torch.Tensor, ...],
    lora_b_stacked: tuple[torch.Tensor, ...],
    scale: float,
    output_slices: tuple[int, ...],
    *,
    buffer: tuple[torch.Tensor, ...] | None = None,
    **kwargs: Any,
) -> None:
    """y[rows of adapter i, slice s] += (x A_is^T) B_is^T * scale, in place; rows without an adapter (-1) stay."""
    y_NO, x_NI = y.view(-1, y.shape[-1]), x.view(-1, x.shape[-1])
    adapter_N = self.token_lora_indices[: x_NI.shape[0]]
    for adapter in adapter_N.unique().tolist():
        if adapter < 0:
            continue
        rows = adapter_N == adapter
        whole = bool(rows.all())
        x_nI = x_NI if whole else x_NI[rows]
        offset = 0
        for a, b, width in zip(lora_a_stacked, lora_b_stacked, output_slices, strict=True):
            part = (x_nI.to(a.dtype) @ a[adapter, 0].T @ b[adapter, 0].T) * scale
            view = y_NO[:, offset : offset + width]
            if whole:
                view += part.to(y.dtype)
            else:
                view[rows] += part.to(y.dtype)
            offset += width
