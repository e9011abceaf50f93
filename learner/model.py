"""The base model and token-level log-probabilities of completions, without ever holding all logits of a batch.

Invariant: rollouts are right-padded and attention is causal, so a rollout's values do not depend on its neighbours.
Shapes: G rollouts, T tokens, D hidden size, V vocabulary, N completion tokens of all rollouts of a batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import AutoModelForCausalLM, PreTrainedModel

from learner.density import Density
from learner.model_config import UNREADABLE, read_config
from learner.model_head import body, head
from learner.tokenizer import check_model_path, no_model
from vgrout.config import ModelConfig
from vgrout.errors import UserError
from vgrout.token_limits import CHUNK_TOKENS

K = TypeVar("K")


class Tokens(Protocol):
    """Anything with a prompt and a completion in token ids: a Sample, a tokenized pair side."""

    @property
    def prompt_ids(self) -> tuple[int, ...]: ...
    @property
    def completion_ids(self) -> tuple[int, ...]: ...


@dataclass(frozen=True)
class PaddedTokens:
    """Right-padded token ids and which positions hold completion tokens."""

    ids_GT: Tensor
    completion_GT: Tensor  # bool

    @property
    def lengths_G(self) -> Tensor:
        """Completion tokens of each rollout."""
        return self.completion_GT.sum(1)


def load_model(config: ModelConfig, device: str) -> PreTrainedModel:
    """Load the frozen base in its dtype. Raises UserError where no model is found at the path or id."""
    check_model_path(config.path)
    about = read_config(config.path)
    try:
        # Soft-capped attention exists in transformers' plain implementation only; the fast ones leave it out without a word.
        capped = {"attn_implementation": "eager"} if getattr(about, "attn_logit_softcapping", None) else {}
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            config.path, dtype=getattr(torch, config.dtype), output_loading_info=True, **capped
        )
    except (*UNREADABLE, ImportError, SafetensorError) as error:
        raise no_model(config.path, error) from None
    model, info = loaded
    if lost := sorted({*info["missing_keys"], *(key[0] for key in info["mismatched_keys"])}):
        found = f"weights without {lost[0]} ({len(lost)} of them missing, or of another shape)"
        raise UserError(f"model.path {config.path}", found, "weights of every part: what is missing would be drawn at random")
    return model.eval().to(torch.device(device))  # pyright: ignore[reportArgumentType]  (transformers' stub of `to`)


def collate(items: Sequence[Tokens], device: str | torch.device) -> PaddedTokens:
    """Right-pad prompts and completions with id 0 (never attended to by a real token, never scored)."""
    width = max(len(i.prompt_ids) + len(i.completion_ids) for i in items)
    ids_GT = torch.zeros(len(items), width, dtype=torch.long)
    completion_GT = torch.zeros(len(items), width, dtype=torch.bool)
    for row, item in enumerate(items):
        start, stop = len(item.prompt_ids), len(item.prompt_ids) + len(item.completion_ids)
        ids_GT[row, :stop] = torch.tensor(item.prompt_ids + item.completion_ids)
        completion_GT[row, start:stop] = True
    return PaddedTokens(ids_GT.to(device), completion_GT.to(device))


def micro_batches(
    items: Sequence[Tokens], budget: int, kinds: Sequence[K] = (), *, rows: Sequence[int] | None = None
) -> list[list[int]]:
    """Split indices into runs of similar length, each of at most `budget` padded tokens or of one rollout.

    `kinds`, one per item, are not mixed in a run: a run of one gate label skips the work that this label does not need.
    `rows`: the indices to split, where not all of them.
    """
    kind_of: Sequence[K | str] = kinds or [""] * len(items)

    def place(i: int) -> tuple[K | str, int]:
        return kind_of[i], len(items[i].prompt_ids) + len(items[i].completion_ids)

    order = sorted(range(len(items)) if rows is None else rows, key=place)
    runs: list[list[int]] = []
    for index in order:
        width = len(items[index].prompt_ids) + len(items[index].completion_ids)
        if runs and kind_of[runs[-1][0]] == kind_of[index] and width * (len(runs[-1]) + 1) <= budget:
            runs[-1].append(index)
        else:
            runs.append([index])
    return runs


def logprobs_GT(model: PreTrainedModel, batch: PaddedTokens, temperature: float = 1.0) -> Tensor:
    """log p(token | before it) of every completion token at `temperature`; 0 elsewhere. Shape [G, T], float32.

    The logits of at most CHUNK_TOKENS positions exist at once, forward and backward (recomputed there).
    """
    hidden_GTD = body(model)(input_ids=batch.ids_GT, use_cache=False).last_hidden_state
    target_GT = batch.completion_GT[:, 1:]
    hidden_ND = hidden_GTD[:, :-1][target_GT]
    ids_N = batch.ids_GT[:, 1:][target_GT]
    parts = [
        checkpoint(token_logprobs, head(model), h_ND, i_N, Density(temperature), use_reentrant=False)
        for h_ND, i_N in zip(hidden_ND.split(CHUNK_TOKENS), ids_N.split(CHUNK_TOKENS), strict=True)
    ]
    logprob_N = torch.cat(parts)
    empty_GT = torch.zeros(batch.ids_GT.shape, dtype=torch.float32, device=batch.ids_GT.device)
    return empty_GT.masked_scatter(batch.completion_GT, logprob_N)


def token_logprobs(logits_of: Callable[[Tensor], Tensor], hidden_ND: Tensor, ids_N: Tensor, density: Density) -> Tensor:
    """log p of each id under the head, float32: [N]."""
    return density.logprobs(logits_of(hidden_ND), ids_N)


def scatter(batch: PaddedTokens, per_rollout: list[Tensor]) -> Tensor:
    """Put one [completion length] tensor per rollout in its place: [G, T], 0 outside completions."""
    empty_GT = torch.zeros(batch.ids_GT.shape, dtype=torch.float32, device=batch.ids_GT.device)
    return empty_GT.masked_scatter(batch.completion_GT, torch.cat(per_rollout).to(empty_GT))


def gather(batch: PaddedTokens, values_GT: Tensor) -> list[Tensor]:
    """The inverse of `scatter`: the completion values of each rollout."""
    return list(values_GT[batch.completion_GT].split(batch.lengths_G.tolist()))
