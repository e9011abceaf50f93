"""The two halves of a causal language model: the body up to the last hidden state, and everything after it, to the logits.

Invariant: the head computes what the model's own `forward` does with a hidden state: the product with the output embedding, and
whatever the architecture adds to it (soft-capping, a logit scale). It is that very code, run with the body left out.
Shapes: N positions, D hidden size, V vocabulary.
"""

import copy
from collections.abc import Callable

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import MoeModelOutputWithPast


class _Given(nn.Module):
    """Stands where the body was, and answers with a hidden state that is already there."""

    def __init__(self, hidden_GTD: Tensor) -> None:
        super().__init__()
        self.hidden_GTD = hidden_GTD

    def forward(self, *_: object, **__: object) -> MoeModelOutputWithPast:
        return MoeModelOutputWithPast(last_hidden_state=self.hidden_GTD)  # pyright: ignore[reportArgumentType]


def body(model: PreTrainedModel) -> nn.Module:
    """The module that makes the last hidden state."""
    return getattr(model, model.base_model_prefix)


def head(model: PreTrainedModel) -> Callable[[Tensor], Tensor]:
    """A function from hidden states [N, D] to the model's own logits [N, V]."""

    def logits_NV(hidden_ND: Tensor) -> Tensor:
        bodiless = copy.copy(model)  # another thread may be using the body at this moment
        bodiless._modules = {**model._modules, model.base_model_prefix: _Given(hidden_ND[None])}
        return bodiless(inputs_embeds=hidden_ND[None], use_cache=False).logits[0]

    return logits_NV
