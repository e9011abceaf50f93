"""The token ids that end a completion: one list for both engines, and the one id that an authored completion ends with.

Invariant: it is the model's whole list (generation_config.json, config.json), the tokenizer's end of text and the end of an
assistant's turn in the chat template. What a model was trained to stop at stops it here, whichever engine samples.
"""

import contextlib
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING

from jinja2.exceptions import TemplateError

from vgrout.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MARK = "vgrout"


@lru_cache(maxsize=8)
def end_of_turn(tokenizer: "PreTrainedTokenizerBase") -> int:
    """The id that ends an assistant's turn: the control token that the template puts after it, else the end of text.

    Raises UserError where there is neither.
    """
    chat = [{"role": "user", "content": MARK}, {"role": "assistant", "content": MARK}]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            text = tokenizer.apply_chat_template(chat, tokenize=False, enable_thinking=False)
    except (TemplateError, ValueError):  # a template for other roles, or none: `encode_prompt` says so where it matters
        text = ""
    after = tokenizer(str(text).rpartition(MARK)[2], add_special_tokens=False)["input_ids"]
    control = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    if after and after[0] in control:
        return after[0]
    if isinstance(tokenizer.eos_token_id, int):
        return tokenizer.eos_token_id
    raise UserError("model.path", "a tokenizer and a chat template that end no turn", "an eos_token, or a token after a turn")


def stop_ids(path: str, tokenizer: "PreTrainedTokenizerBase") -> tuple[int, ...]:
    """Every id that ends a completion of the model, ascending."""
    from transformers import AutoConfig, GenerationConfig

    found: list[object] = [end_of_turn(tokenizer), tokenizer.eos_token_id]
    settings: list[object] = [AutoConfig.from_pretrained(path)]
    with contextlib.suppress(OSError):  # a model without generation_config.json
        settings.append(GenerationConfig.from_pretrained(path))
    for about in settings:
        ids = getattr(about, "eos_token_id", None)
        found += ids if isinstance(ids, list) else [ids]
    return tuple(sorted({i for i in found if isinstance(i, int)}))
