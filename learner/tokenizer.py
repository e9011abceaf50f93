"""Text of the base model's tokenizer: chat prompts and completions in token ids, and whether there is a base at all.

Invariant: nothing here imports torch. The driver renders every prompt and has no other use for it, and torch with all that
transformers' Auto classes bring takes three seconds.
"""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

from huggingface_hub import hf_hub_url, is_offline_mode, try_to_load_from_cache
from huggingface_hub.utils import build_hf_headers

from learner.model_config import UNREADABLE, first_line, plain_config, read_config
from learner.stop_ids import TEMPLATE_FAULTS, end_of_turn
from vgrout.errors import UserError
from vgrout.records import Message
from vgrout.template_date import strftime_now

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

HUB_S = 10  # for the hub to say that a model is there
LENGTHS_AT_ONCE = 1024
A_TEMPLATE = "a chat template that takes the prompts"


def load_tokenizer(path: str) -> "PreTrainedTokenizerBase":
    """Load the tokenizer of the base. Raises UserError where none is found."""
    check_model_path(path)
    try:
        if _is_plain(Path(path).expanduser()):
            from transformers.tokenization_utils_tokenizers import TokenizersBackend

            return TokenizersBackend.from_pretrained(path)
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(path)
    except UNREADABLE as error:
        raise no_model(path, error) from None


def _is_plain(folder: Path) -> bool:
    """Whether AutoTokenizer would load the folder's tokenizer.json as it is; it would import torch to say so."""
    try:
        about = json.loads((folder / "tokenizer_config.json").read_text())
        return (
            about["tokenizer_class"] == "TokenizersBackend" and "auto_map" not in about and plain_config(str(folder)) is not None
        )
    except (OSError, ValueError, KeyError, TypeError):  # not there, or not as expected: transformers says what is wrong
        return False


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
        raise no_model(path, error) from None


def check_vocabulary(path: str, tokenizer: "PreTrainedTokenizerBase") -> None:
    """Raise UserError where the tokenizer makes token ids that the model's embedding does not have."""
    plain = plain_config(path)
    size = plain["vocab_size"] if plain else read_config(path).get_text_config().vocab_size
    highest = max(tokenizer.get_vocab().values(), default=-1)
    if highest >= size:
        raise UserError(
            "model.path", f"{path} (a tokenizer with ids up to {highest})", f"ids below {size}, the model's vocabulary"
        )


def model_positions(path: str) -> int:
    """Tokens that the model has positions for, prompt and completion together; a large number where its config does not say."""
    if plain := plain_config(path):
        return plain["max_position_embeddings"]
    known = getattr(read_config(path).get_text_config(), "max_position_embeddings", None)
    return 2**31 - 1 if known is None else int(known)


def no_model(path: str, error: Exception) -> UserError:
    """What to say where transformers finds no model at the path or id."""
    return UserError("model.path", f"{path} ({first_line(error)})", "a Hugging Face model folder or id")


def encode_prompt(tokenizer: "PreTrainedTokenizerBase", messages: tuple[Message, ...]) -> tuple[int, ...]:
    """Token ids of a chat prompt, thinking off, ready for the assistant's completion."""
    return tuple(tokenizer(_prompt_text(tokenizer, messages), add_special_tokens=False)["input_ids"])


def prompt_lengths(tokenizer: "PreTrainedTokenizerBase", chats: Sequence[tuple[Message, ...]]) -> list[int]:
    """Tokens of many chat prompts, as `encode_prompt` counts them; a fast tokenizer spreads a batch over the cores."""
    lengths = []
    for first in range(0, len(chats), LENGTHS_AT_ONCE):
        texts = [_prompt_text(tokenizer, messages) for messages in chats[first : first + LENGTHS_AT_ONCE]]
        lengths += map(len, tokenizer(texts, add_special_tokens=False)["input_ids"])
    return lengths


def _prompt_text(tokenizer: "PreTrainedTokenizerBase", messages: tuple[Message, ...]) -> str:
    chat = [{"role": m.role, "content": m.content} for m in messages]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            text = tokenizer.apply_chat_template(
                chat, tokenize=False, add_generation_prompt=True, enable_thinking=False, strftime_now=strftime_now()
            )
    except TEMPLATE_FAULTS as error:  # its own complaint, or none that is there
        raise UserError(f"model.path {tokenizer.name_or_path}", first_line(error), A_TEMPLATE) from None
    assert isinstance(text, str)  # one chat, not tokenized
    if messages[-1].content.strip() not in text:
        found = f"a chat template that leaves the question out of {text!r:.60}"
        raise UserError(f"model.path {tokenizer.name_or_path}", found, A_TEMPLATE)
    return text


def encode_completion(tokenizer: "PreTrainedTokenizerBase", text: str) -> tuple[int, ...]:
    """Token ids of a whole completion, the end-of-turn token included, as an engine would return them."""
    return (*tokenizer(text, add_special_tokens=False)["input_ids"], end_of_turn(tokenizer))


def decode(tokenizer: "PreTrainedTokenizerBase", ids: Sequence[int], *, control_tokens: bool) -> str:
    """The text of token ids, with or without control tokens."""
    text = tokenizer.decode(list(ids), skip_special_tokens=not control_tokens)
    assert isinstance(text, str)
    return text
