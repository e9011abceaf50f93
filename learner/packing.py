"""Rollouts as one row of tokens without padding, each prompt once for all rollouts of its group.

Invariant: every token sees its own rollout's tokens before it and no others, at the positions that it has alone, so values and
gradients are those of separate rollouts; a shared prompt's gradient is the sum over its rollouts.
Shapes: N tokens of the row, P prefixes of U tokens (padded), G suffixes of V tokens (padded), C completion tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from learner.density import PLAIN, Density
from learner.model import Tokens, token_logprobs
from learner.model_head import body, head
from vgrout.token_limits import CHUNK_TOKENS

KEPT_LOGITS = 2**22  # as many logits of a row are kept for the backward pass; of more, those of one chunk, computed again


@dataclass(frozen=True)
class Block:
    """Where padded sequences sit in the row: `index` is [sequences x width] with 0 for padding, `real` says which are none."""

    index_L: Tensor
    real_L: Tensor  # bool
    width: int

    @property
    def count(self) -> int:
        """Number of sequences."""
        return len(self.index_L) // self.width


@dataclass(frozen=True)
class Packing:
    """One row of tokens and what attention and the head need to know of it. Without sharing, a prefix is a whole rollout."""

    ids_N: Tensor
    position_N: Tensor
    prefix: Block
    suffix: Block | None
    prefix_of_G: Tensor  # the prefix that each suffix follows
    prefix_length_P: Tensor
    place_N: Tensor  # where each token of the row sits in [all prefixes | all suffixes]
    predictor_C: Tensor  # where in the row the token before each completion token sits
    target_C: Tensor
    lengths: list[int]  # completion tokens of each rollout
    rollout_GN: Tensor  # one-hot: which rollout each token is of; a shared prompt is of none
    biases: dict[tuple[str, int | None, torch.dtype], Tensor] = field(default_factory=dict)

    def prefix_bias(self, window: int | None, dtype: torch.dtype) -> Tensor | None:
        """Additive attention bias of the prefixes [U, U] for a sliding window; None where plain causal attention does."""
        if window is None or window >= self.prefix.width:
            return None
        return self._bias(("prefix", window, dtype), torch.arange(self.prefix.width), torch.arange(self.prefix.width), window)

    def suffix_bias(self, window: int | None, dtype: torch.dtype) -> Tensor:
        """Additive attention bias of the suffixes, [G, 1, V, U + V]: their own prefix, and themselves causally."""
        assert self.suffix is not None
        key = ("suffix", window, dtype)
        if key not in self.biases:
            device, u, v = self.ids_N.device, self.prefix.width, self.suffix.width
            length_G = self.prefix_length_P[self.prefix_of_G]
            slot_U, slot_V = torch.arange(u, device=device), torch.arange(v, device=device)
            seen_GVU = (slot_U < length_G[:, None])[:, None, :].expand(-1, v, -1)
            seen_VV = slot_V[:, None] >= slot_V
            if window is not None:
                ago_GVU = length_G[:, None, None] + slot_V[:, None] - slot_U
                seen_GVU, seen_VV = seen_GVU & (ago_GVU < window), seen_VV & (slot_V[:, None] - slot_V < window)
            seen_GVK = torch.cat([seen_GVU, seen_VV.expand(len(length_G), -1, -1)], dim=2)
            self.biases[key] = bias(seen_GVK[:, None], dtype)
        return self.biases[key]

    def _bias(self, key: tuple[str, int | None, torch.dtype], query_Q: Tensor, key_K: Tensor, window: int) -> Tensor:
        if key not in self.biases:
            ago_QK = (query_Q[:, None] - key_K).to(self.ids_N.device)
            self.biases[key] = bias((ago_QK >= 0) & (ago_QK < window), key[-1])
        return self.biases[key]


def bias(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where `seen`, the lowest finite number elsewhere."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, torch.finfo(dtype).min)


def pack(items: Sequence[Tokens], device: torch.device, *, share: bool) -> Packing:
    """Pack rollouts; with `share`, rollouts of equal prompts that follow one another have it once."""
    starts: list[list[int]] = []  # per prefix the rollouts that follow it
    for i, item in enumerate(items):
        if share and starts and items[starts[-1][0]].prompt_ids == item.prompt_ids:
            starts[-1].append(i)
        else:
            starts.append([i])
    ids: list[int] = []
    position: list[int] = []
    prefix: list[range] = []
    suffix: list[range] = []
    predictor: list[int] = []
    for rows in starts:
        head = items[rows[0]].prompt_ids + (() if share else items[rows[0]].completion_ids)
        prefix.append(range(len(ids), len(ids) + len(head)))
        ids += head
        position += range(len(head))
        for row in rows:
            prompt, completion = items[row].prompt_ids, items[row].completion_ids
            first = prefix[-1].start + len(prompt) - 1
            if share:
                suffix.append(range(len(ids), len(ids) + len(completion)))
                ids += completion
                position += range(len(prompt), len(prompt) + len(completion))
                predictor += [first, *suffix[-1][:-1]]
            else:
                predictor += range(first, first + len(completion))
    place = torch.empty(len(ids), dtype=torch.long)
    prefixes = _block(prefix, place, 0)
    suffixes = _block(suffix, place, len(prefixes.index_L)) if share else None
    rollout = torch.zeros(len(items), len(ids))
    for i, places in enumerate(suffix if share else prefix):
        rollout[i, places.start : places.stop] = 1.0
    return Packing(
        ids_N=torch.tensor(ids).to(device),
        position_N=torch.tensor(position).to(device),
        prefix=_to(prefixes, device),
        suffix=_to(suffixes, device) if suffixes else None,
        prefix_of_G=torch.tensor([p for p, rows in enumerate(starts) for _ in rows]).to(device),
        prefix_length_P=torch.tensor([len(p) for p in prefix]).to(device),
        place_N=place.to(device),
        predictor_C=torch.tensor(predictor).to(device),
        target_C=torch.tensor([i for item in items for i in item.completion_ids]).to(device),
        lengths=[len(item.completion_ids) for item in items],
        rollout_GN=rollout.to(device),
    )


def logprobs_C(model: PreTrainedModel, packing: Packing, density: Density = PLAIN) -> Tensor:
    """log p(token | before it) of every completion token under `density`, rollout after rollout: [C], float32.

    The logits of at most CHUNK_TOKENS positions exist at once, forward and backward (recomputed there).
    """
    return head_logprobs_C(model, packing, hidden_CD(model, packing), density)


def hidden_CD(model: PreTrainedModel, packing: Packing) -> Tensor:
    """The last hidden states that predict the completion tokens. `model` attends by learner/packed_attention.py."""
    out = body(model)(
        input_ids=packing.ids_N[None], position_ids=packing.position_N[None], use_cache=False, packing=packing
    ).last_hidden_state
    return out[0].index_select(0, packing.predictor_C)


def head_logprobs_C(model: PreTrainedModel, packing: Packing, hidden_CD: Tensor, density: Density) -> Tensor:
    """The head's log-probabilities of the completion tokens, in chunks."""
    if len(hidden_CD) * model.config.get_text_config().vocab_size <= KEPT_LOGITS:
        return token_logprobs(head(model), hidden_CD, packing.target_C, density)
    parts = zip(hidden_CD.split(CHUNK_TOKENS), packing.target_C.split(CHUNK_TOKENS), strict=True)
    return torch.cat([checkpoint(token_logprobs, head(model), h, i, density, use_reentrant=False) for h, i in parts])


def _block(places: list[range], place_N: Tensor, offset: int) -> Block:
    """The padded block of some sequences; enters where their tokens sit in it, from `offset`, into `place_N`."""
    width = max(map(len, places))
    index = torch.zeros(len(places), width, dtype=torch.long)
    real = torch.zeros(len(places), width, dtype=torch.bool)
    for i, p in enumerate(places):
        index[i, : len(p)] = torch.arange(p.start, p.stop)
        real[i, : len(p)] = True
        place_N[p.start : p.stop] = torch.arange(offset + i * width, offset + i * width + len(p))
    return Block(index.flatten(), real.flatten(), width)


def _to(block: Block, device: torch.device) -> Block:
    return Block(block.index_L.to(device), block.real_L.to(device), block.width)
