"""The base model and token-level log-probabilities of completions, without ever holding all logits of a batch.

Invariant: rollouts are right-padded and attention is causal, so a rollout's values do not depend on its neighbours.
Shapes: G rollouts, T tokens, D hidden size, V vocabulary, N completion tokens of all rollouts of a batch.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.request import Request, urlopen

import torch
from huggingface_hub import hf_hub_url, is_offline_mode, try_to_load_from_cache
from huggingface_hub.utils import build_hf_headers
from jinja2.exceptions import TemplateError
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from learner.model_head import body, head
from learner.stop_ids import end_of_turn
from vgrout.config import ModelConfig
from vgrout.errors import UserError
from vgrout.records import Message
from vgrout.template_date import strftime_now
from vgrout.token_limits import CHUNK_TOKENS

K = TypeVar("K")
HUB_S = 10  # for the hub to say that a model is there
LENGTHS_AT_ONCE = 1024


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
    try:
        about = AutoConfig.from_pretrained(config.path)
        # Soft-capped attention exists in transformers' plain implementation only; the fast ones leave it out without a word.
        capped = {"attn_implementation": "eager"} if getattr(about, "attn_logit_softcapping", None) else {}
        model = AutoModelForCausalLM.from_pretrained(config.path, dtype=getattr(torch, config.dtype), **capped)
    except (OSError, ValueError) as error:
        raise _no_model(config.path, error) from None
    return model.eval().to(torch.device(device))  # pyright: ignore[reportArgumentType]  (transformers' stub of `to`)


def load_tokenizer(path: str) -> PreTrainedTokenizerBase:
    """Load the tokenizer of the base. Raises UserError where none is found."""
    check_model_path(path)
    try:
        return AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError) as error:
        raise _no_model(path, error) from None


def check_model_path(path: str) -> None:
    """Raise UserError for a local path without a model, or a hub id that is neither in the cache nor to be had in time."""
    if path.startswith(("/", ".", "~")) or Path(path).is_dir():  # as transformers reads it: a folder that is there is the model
        if not (Path(path).expanduser() / "config.json").is_file():
            raise UserError("model.path", f"{path} (no config.json there)", "a Hugging Face model folder or id")
        return
    try:
        if isinstance(try_to_load_from_cache(path, "config.json"), str) or is_offline_mode():
            return
        # Asked once here: the hub's own client goes on trying for 25 s per file, and for many files.
        request = Request(hf_hub_url(path, "config.json"), method="HEAD", headers=build_hf_headers())
        urlopen(request, timeout=HUB_S).close()
    except (OSError, ValueError) as error:  # unreachable, refused or unknown; not the form of an id
        raise _no_model(path, error) from None


def check_vocabulary(path: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise UserError where the tokenizer makes token ids that the model's embedding does not have."""
    size, highest = AutoConfig.from_pretrained(path).vocab_size, max(tokenizer.get_vocab().values())
    if highest >= size:
        raise UserError(
            "model.path", f"{path} (a tokenizer with ids up to {highest})", f"ids below {size}, the model's vocabulary"
        )


def model_positions(path: str) -> int:
    """Tokens that the model has positions for, prompt and completion together; a large number where its config does not say."""
    about = AutoConfig.from_pretrained(path)
    about = about.get_text_config() if hasattr(about, "get_text_config") else about
    return int(getattr(about, "max_position_embeddings", None) or 2**31 - 1)


def _no_model(path: str, error: Exception) -> UserError:
    return UserError("model.path", f"{path} ({str(error).splitlines()[0]})", "a Hugging Face model folder or id")


def encode_prompt(tokenizer: PreTrainedTokenizerBase, messages: tuple[Message, ...]) -> tuple[int, ...]:
    """Token ids of a chat prompt, thinking off, ready for the assistant's completion."""
    return tuple(tokenizer(_prompt_text(tokenizer, messages), add_special_tokens=False)["input_ids"])


def prompt_lengths(tokenizer: PreTrainedTokenizerBase, chats: Sequence[tuple[Message, ...]]) -> list[int]:
    """Tokens of many chat prompts, as `encode_prompt` counts them; a fast tokenizer spreads a batch over the cores."""
    lengths = []
    for first in range(0, len(chats), LENGTHS_AT_ONCE):
        texts = [_prompt_text(tokenizer, messages) for messages in chats[first : first + LENGTHS_AT_ONCE]]
        lengths += map(len, tokenizer(texts, add_special_tokens=False)["input_ids"])
    return lengths


def _prompt_text(tokenizer: PreTrainedTokenizerBase, messages: tuple[Message, ...]) -> str:
    chat = [{"role": m.role, "content": m.content} for m in messages]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            text = tokenizer.apply_chat_template(
                chat, tokenize=False, add_generation_prompt=True, enable_thinking=False, strftime_now=strftime_now()
            )
    except (TemplateError, ValueError) as error:  # its own complaint, or none that is there
        found = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"model.path {tokenizer.name_or_path}", found, "a chat template that takes the prompts") from None
    assert isinstance(text, str)  # one chat, not tokenized
    return text


def encode_completion(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[int, ...]:
    """Token ids of a whole completion, the end-of-turn token included, as an engine would return them."""
    return (*tokenizer(text, add_special_tokens=False)["input_ids"], end_of_turn(tokenizer))


def decode(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], *, control_tokens: bool) -> str:
    """The text of token ids, with or without control tokens."""
    text = tokenizer.decode(list(ids), skip_special_tokens=not control_tokens)
    assert isinstance(text, str)
    return text


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
        checkpoint(token_logprobs, head(model), h_ND, i_N, temperature, use_reentrant=False)
        for h_ND, i_N in zip(hidden_ND.split(CHUNK_TOKENS), ids_N.split(CHUNK_TOKENS), strict=True)
    ]
    logprob_N = torch.cat(parts)
    empty_GT = torch.zeros(batch.ids_GT.shape, dtype=torch.float32, device=batch.ids_GT.device)
    return empty_GT.masked_scatter(batch.completion_GT, logprob_N)


def token_logprobs(logits_of: Callable[[Tensor], Tensor], hidden_ND: Tensor, ids_N: Tensor, temperature: float) -> Tensor:
    """log p of each id under the head at `temperature`, float32: [N]."""
    logits_NV = logits_of(hidden_ND).float() / temperature
    return torch.log_softmax(logits_NV, dim=-1).gather(1, ids_N[:, None]).squeeze(1)


def scatter(batch: PaddedTokens, per_rollout: list[Tensor]) -> Tensor:
    """Put one [completion length] tensor per rollout in its place: [G, T], 0 outside completions."""
    empty_GT = torch.zeros(batch.ids_GT.shape, dtype=torch.float32, device=batch.ids_GT.device)
    return empty_GT.masked_scatter(batch.completion_GT, torch.cat(per_rollout).to(empty_GT))


def gather(batch: PaddedTokens, values_GT: Tensor) -> list[Tensor]:
    """The inverse of `scatter`: the completion values of each rollout."""
    return list(values_GT[batch.completion_GT].split(batch.lengths_G.tolist()))
