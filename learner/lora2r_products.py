"""The matrix products of one adapted Linear, each computed once: forward through some blocks, backward through some of them.

Invariant: values are those of `(B-B0) A + B0 (A-A0)` over the forward blocks, exactly 0 while A = A0 and B = B0; gradients are
those of the trained blocks alone, as if the others' output had been detached. Differences are taken in float32 and only then
rounded to the base's precision, so nothing cancels in bfloat16.
Shapes: N tokens, I/O input and output features, S rank of all blocks in use, R rank of one block, G rollouts.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


class Delta(torch.autograd.Function):
    """`BA - B0 A0` as a matrix [O, I], in the form that does not cancel."""

    @staticmethod
    def forward(ctx: Any, a_SI: Tensor, b_OS: Tensor, a0_SI: Tensor, b0_OS: Tensor) -> Tensor:  # pyright: ignore
        ctx.save_for_backward(a_SI, b_OS)
        return torch.cat([b_OS - b0_OS, b0_OS], dim=1) @ torch.cat([a_SI, a_SI - a0_SI])

    @staticmethod
    def backward(ctx: Any, grad_OI: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        a_SI, b_OS = ctx.saved_tensors
        return b_OS.T @ grad_OI, grad_OI @ a_SI.T, None, None


class SplitLinear(torch.autograd.Function):
    """`x @ forward^T` whose gradients are those of `x @ backward^T`: one product each way."""

    @staticmethod
    def forward(ctx: Any, x_NI: Tensor, forward_OI: Tensor, backward_OI: Tensor, bias_O: Tensor | None) -> Tensor:  # pyright: ignore
        ctx.save_for_backward(x_NI, backward_OI)
        return F.linear(x_NI, forward_OI, bias_O)

    @staticmethod
    def backward(ctx: Any, grad_NO: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        x_NI, backward_OI = ctx.saved_tensors
        grad_x = grad_NO @ backward_OI if ctx.needs_input_grad[0] else None
        return grad_x, None, grad_NO.flatten(0, -2).T @ x_NI.flatten(0, -2), None


class Branch(torch.autograd.Function):
    """The adapter's output in factored form, as one stacked pair of products in the precision of x.

    `trained` and `frozen` blocks both take part forward; only the trained ones exist backward. `frozen` may be None.
    """

    @staticmethod
    def forward(  # pyright: ignore
        ctx: Any, x_NI: Tensor, a_SI: Tensor, b_OS: Tensor, a0_SI: Tensor, b0_OS: Tensor, frozen: tuple[Tensor, ...] | None
    ) -> Tensor:
        rows, columns = stacked((a_SI, b_OS, a0_SI, b0_OS), x_NI.dtype)
        h_NS = F.linear(x_NI, rows)
        ctx.save_for_backward(x_NI, h_NS, rows, columns)
        if frozen is None:
            return F.linear(h_NS, columns)
        more_rows, more_columns = stacked(frozen, x_NI.dtype)
        return F.linear(torch.cat([h_NS, F.linear(x_NI, more_rows)], dim=-1), torch.cat([columns, more_columns], dim=1))

    @staticmethod
    def backward(ctx: Any, grad_NO: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        x_NI, h_NS, rows, columns = ctx.saved_tensors
        u_NS, s = grad_NO @ columns, rows.shape[0] // 2
        grad_x = u_NS @ rows if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return grad_x, None, None, None, None, None
        grad_a = (u_NS[..., :s] + u_NS[..., s:]).flatten(0, -2).T @ x_NI.flatten(0, -2)
        grad_b = grad_NO.flatten(0, -2).T @ h_NS[..., :s].flatten(0, -2)
        return grad_x, grad_a.float(), grad_b.float(), None, None, None


def stacked(block: tuple[Tensor, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """`[A ; A-A0]` and `[B-B0 | B0]` in `dtype`, subtracted before they are rounded. `block` is (A, B, A0, B0)."""
    a_SI, b_OS, a0_SI, b0_OS = block
    return torch.cat([a_SI, a_SI - a0_SI]).to(dtype), torch.cat([b_OS - b0_OS, b0_OS], dim=1).to(dtype)


class Gate(torch.autograd.Function):
    """The c gate at c = 1: returns y, and gives c the gradient `sum_t h_tr (B^T dL/dy_t)_r` of every rollout, h = A x.

    Nothing is passed on to x or to A and B through the gate: at c = 1 its term is 0.
    """

    @staticmethod
    def forward(ctx: Any, y_NO: Tensor, x_NI: Tensor, c_GR: Tensor, a_RI: Tensor, b_OR: Tensor, rollout_GN: Tensor) -> Tensor:  # pyright: ignore
        ctx.save_for_backward(F.linear(x_NI, a_RI.to(x_NI.dtype)), b_OR, rollout_GN)
        return y_NO.view_as(y_NO)

    @staticmethod
    def backward(ctx: Any, grad_NO: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        h_NR, b_OR, rollout_GN = ctx.saved_tensors
        product_NR = h_NR * (grad_NO @ b_OR.to(grad_NO.dtype))
        return grad_NO, None, rollout_GN @ product_NR.flatten(0, -2).float(), None, None, None
