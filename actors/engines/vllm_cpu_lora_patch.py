"""Makes LoRA fast in vLLM's CPU worker: one matrix product per adapter in the batch, by its dense delta where that pays.

Invariants: the values are those of the stock ops (tested against PEFT); a delta is dropped whenever its slot is written, so
a slot never answers with the weights that it held before; only the CPU wrapper is touched, and only in the vLLM version
named here. The stock ops copy the adapter's weights once per token of the batch.

Shapes: N tokens of a step, n of them under one adapter; I, O features; K rank of a slot (vLLM's max_lora_rank).
"""

from typing import Any

import torch

VLLM_VERSION = "0.32.0"
DELTAS = "vgrout_deltas"  # attribute of a layer's first stacked A: the dense delta of each slot used since it was written
ROWS = "vgrout_rows"  # attribute of the wrapper: which tokens belong to which slot, by number of tokens


def install() -> None:
    """Replace the wrapper's linear op in this process. Does nothing on another vLLM version."""
    import vllm
    from vllm.lora.layers.base_linear import BaseLinearLayerWithLoRA
    from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

    if vllm.__version__.split("+")[0] != VLLM_VERSION or PunicaWrapperCPU.add_lora_linear is _add_lora_linear:
        return
    stock_reset, stock_update = BaseLinearLayerWithLoRA.reset_lora, PunicaWrapperCPU.update_metadata

    def reset_lora(self: Any, index: int) -> None:
        """Called before every write of a slot, by vLLM's `set_lora` too."""
        getattr(self.lora_a_stacked[0], DELTAS, {}).pop(index, None)
        stock_reset(self, index)

    def update_metadata(self: Any, *args: Any, **kwargs: Any) -> None:
        stock_update(self, *args, **kwargs)
        setattr(self, ROWS, {})

    BaseLinearLayerWithLoRA.reset_lora = reset_lora
    PunicaWrapperCPU.update_metadata = update_metadata
    PunicaWrapperCPU.add_lora_linear = _add_lora_linear  # pyright: ignore[reportAttributeAccessIssue]


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
    y_NO, x_NI = y.view(-1, y.shape[-1]), x.view(-1, x.shape[-1]).to(lora_a_stacked[0].dtype)
    dense = _dense_is_smaller(lora_a_stacked, lora_b_stacked)
    for slot, rows_n in _rows_by_slot(self, len(x_NI)):
        x_nI = x_NI if rows_n is None else x_NI.index_select(0, rows_n)
        if dense and rows_n is None and y.dtype == x_NI.dtype:
            y_NO.addmm_(x_nI, _delta(lora_a_stacked, lora_b_stacked, slot, scale))
            continue
        if dense:
            part_nO = x_nI @ _delta(lora_a_stacked, lora_b_stacked, slot, scale)
        else:
            pairs = zip(lora_a_stacked, lora_b_stacked, strict=True)
            part_nO = torch.cat([x_nI @ a[slot, 0].T @ b[slot, 0].T for a, b in pairs], 1) * scale
        if rows_n is None:
            y_NO += part_nO
        else:
            y_NO.index_add_(0, rows_n, part_nO.to(y.dtype))


def _rows_by_slot(wrapper: Any, count: int) -> list[tuple[int, torch.Tensor | None]]:
    """(slot, its tokens) of the step's `count` tokens; None for the tokens of a step that is all one adapter's."""
    known: dict[int, list[tuple[int, torch.Tensor | None]]] = getattr(wrapper, ROWS, {})
    if count not in known:
        slot_N = wrapper.token_lora_indices[:count]
        slots = slot_N.unique().tolist()
        rows = [(slot, (slot_N == slot).nonzero().flatten() if len(slots) > 1 else None) for slot in slots if slot >= 0]
        if not hasattr(wrapper, ROWS):  # vLLM has not yet said anything of this batch: nothing would clear what is kept
            return rows
        known[count] = rows
    return known[count]


def _dense_is_smaller(lora_a_stacked: tuple[torch.Tensor, ...], lora_b_stacked: tuple[torch.Tensor, ...]) -> bool:
    rank, inputs = lora_a_stacked[0].shape[2:]
    outputs = sum(b.shape[2] for b in lora_b_stacked)
    return rank * (len(lora_b_stacked) * inputs + outputs) >= inputs * outputs


def _delta(
    lora_a_stacked: tuple[torch.Tensor, ...], lora_b_stacked: tuple[torch.Tensor, ...], slot: int, scale: float
) -> torch.Tensor:
    """(B A)^T * scale of a slot, its output slices side by side, [I, O]: made at its first use after the slot was written."""
    keeper = lora_a_stacked[0]
    deltas: dict[int, torch.Tensor] | None = getattr(keeper, DELTAS, None)
    if deltas is None:
        deltas = {}
        setattr(keeper, DELTAS, deltas)
    if slot not in deltas:
        slices = [b[slot, 0].float() @ a[slot, 0].float() for a, b in zip(lora_a_stacked, lora_b_stacked, strict=True)]
        deltas[slot] = (torch.cat(slices) * scale).T.contiguous().to(keeper.dtype)
    return deltas[slot]
