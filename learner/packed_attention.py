"""Attention over a packed row (learner/packing.py), as an attention implementation of transformers.

Invariant: what a token attends to is what it would attend to in its own rollout alone. Both directions of every rearrangement
are gathers, so nothing is added up in an order that could change from run to run.
Shapes: N tokens of the row, P prefixes of U tokens, G suffixes of V tokens, H heads, D head size, L = P x U + G x V.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface

from learner.packing import Block, Packing, bias

NAME = "vgrout_packed"


class Pad(torch.autograd.Function):
    """Rows of the packed row into a padded block; padding holds row 0 and passes no gradient back."""

    @staticmethod
    def forward(ctx: Any, x_NHD: Tensor, index_L: Tensor, place_N: Tensor) -> Tensor:  # pyright: ignore
        ctx.save_for_backward(place_N)
        return x_NHD.index_select(0, index_L)

    @staticmethod
    def backward(ctx: Any, grad_LHD: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore
        (place_N,) = ctx.saved_tensors
        return grad_LHD.index_select(0, place_N), None, None


class Unpad(torch.autograd.Function):
    """The inverse of `Pad`: padding is dropped and gets a gradient of 0."""

    @staticmethod
    def forward(ctx: Any, x_LHD: Tensor, index_L: Tensor, place_N: Tensor, padding_L11: Tensor) -> Tensor:  # pyright: ignore
        ctx.save_for_backward(index_L, padding_L11)
        return x_LHD.index_select(0, place_N)

    @staticmethod
    def backward(ctx: Any, grad_NHD: Tensor) -> tuple[Tensor, None, None, None]:  # pyright: ignore
        index_L, padding_L11 = ctx.saved_tensors
        return grad_NHD.index_select(0, index_L).masked_fill_(padding_L11, 0), None, None, None


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packing: Packing | None = None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention of a packed row; without `packing` causal attention of rollouts that are padded on the right."""
    if others.get("s_aux") is not None:
        raise NotImplementedError("attention sinks")  # refused before a start: actors/planning/model_shape.py
    if packing is None:
        place_T = torch.arange(query.shape[2], device=query.device)
        ago_TT = place_T[:, None] - place_T
        window = sliding_window or len(place_T)
        mask = bias((ago_TT >= 0) & (ago_TT < window), query.dtype) if window < len(place_T) else None
        return _attend(query, key, value, mask, scaling, softcap).transpose(1, 2), None
    blocks = [b for b in (packing.prefix, packing.suffix) if b is not None]
    index_L = torch.cat([b.index_L for b in blocks])
    padding_L11 = ~torch.cat([b.real_L for b in blocks])[:, None, None]
    q, k, v = (_blocks(Pad.apply(x[0].transpose(0, 1), index_L, packing.place_N), blocks) for x in (query, key, value))

    def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
        return _attend(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), bias, scaling, softcap).transpose(1, 2)

    out = [attend(q[0], k[0], v[0], packing.prefix_bias(sliding_window, query.dtype))]
    if packing.suffix is not None:
        whole_k, whole_v = (torch.cat([x[0].index_select(0, packing.prefix_of_G), x[1]], dim=1) for x in (k, v))
        out.append(attend(q[1], whole_k, whole_v, packing.suffix_bias(sliding_window, query.dtype)))
    out_LHD = torch.cat([x.flatten(0, 1) for x in out])
    return Unpad.apply(out_LHD, index_L, packing.place_N, padding_L11)[None], None  # pyright: ignore


def _blocks(x_LHD: Tensor, blocks: list[Block]) -> list[Tensor]:
    """Split a padded tensor into [sequences, width, H, D] per block."""
    parts = x_LHD.split([len(b.index_L) for b in blocks])
    return [p.view(b.count, b.width, *x_LHD.shape[1:]) for p, b in zip(parts, blocks, strict=True)]


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scaling: float | None, softcap: float | None) -> Tensor:
    """[*, H, Q, D] against [*, KV heads, K, D]; causal where no bias is given."""
    if softcap is None and (bias is None or not q.is_cuda):
        return F.scaled_dot_product_attention(q, k, v, bias, is_causal=bias is None, scale=scaling, enable_gqa=True)
    repeats = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(repeats, 1), v.repeat_interleave(repeats, 1)
    if softcap is None:
        return F.scaled_dot_product_attention(q, k, v, bias, scale=scaling)
    if bias is None:
        bias = torch.full((q.shape[2], k.shape[2]), torch.finfo(q.dtype).min, dtype=q.dtype, device=q.device).triu(1)
    logits = q @ k.transpose(-1, -2) * (scaling if scaling is not None else q.shape[-1] ** -0.5)
    logits = torch.tanh(logits / softcap) * softcap + bias
    return torch.softmax(logits, dim=-1, dtype=torch.float32).to(q.dtype) @ v


AttentionInterface.register(NAME, packed_attention)
