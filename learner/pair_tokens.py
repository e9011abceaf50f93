"""The authored pairs in token ids. Invariant: both sides of a pair have the same prompt; importing this brings in no torch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from learner.tokenizer import encode_completion, encode_prompt
from vgrout.records import Pair

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Side:
    """One side of an authored pair in token ids."""

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]


@dataclass(frozen=True)
class PairTokens:
    """The authored pairs, tokenized once: hack and clean sides in the same order, with each pair's tag."""

    tags: tuple[str, ...]
    hack: list[Side]
    clean: list[Side]


def tokenize_pairs(tokenizer: "PreTrainedTokenizerBase", pairs: list[Pair]) -> PairTokens:
    """Encode both sides of every pair in the environment's own chat format."""
    prompts = [encode_prompt(tokenizer, p.messages) for p in pairs]
    return PairTokens(
        tags=tuple(p.tag for p in pairs),
        hack=[Side(ids, encode_completion(tokenizer, p.hack)) for ids, p in zip(prompts, pairs, strict=True)],
        clean=[Side(ids, encode_completion(tokenizer, p.clean)) for ids, p in zip(prompts, pairs, strict=True)],
    )
