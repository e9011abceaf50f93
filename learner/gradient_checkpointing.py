"""Gradient checkpointing: a decoder layer keeps only its input and is computed again in the backward pass.

Invariant: gradients are bit-identical to those without it. The route (policy, masks, gates) that a layer was computed
with is taken along and put back for the recomputation, which may run after the route has moved on.
Source: Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost" (arXiv 1604.06174).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from learner.lora2r import Lora2r, Route


def recompute_layers(model: PreTrainedModel, lora: Lora2r) -> None:
    """Make every layer of `model.model.layers` recompute itself in the backward pass. The frozen base has no dropout
    (it is in eval mode), so no random state needs to be kept."""
    for layer in model.model.layers:
        layer.forward = partial(_recomputed, layer.forward, lora.route)


def _recomputed(forward: Callable[..., object], route: Route, *args: object, **kwargs: Any) -> object:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    then = dict(route.__dict__)

    def run(*inner: object, **named: object) -> object:
        now = dict(route.__dict__)  # of the thread that computes it again, which on a GPU is autograd's own
        route.__dict__.update(then)
        try:
            return forward(*inner, **named)
        finally:
            route.__dict__.update(now)

    return checkpoint(run, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)
