"""The token ids that end a completion: one list for both engines, and the one id that an authored completion ends with.

Invariant: it is the model's whole list (generation_config.json, config.json), the tokenizer's end of text and the end of an
assistant's turn in the chat template. What a model was trained to stop at stops it here, whichever engine samples.
"""

import warnings
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2.exceptions import TemplateError

from learner.model_config import UNREADABLE, first_line, plain_config, read_config
from vgrout.errors import UserError
from vgrout.files import read_json
from vgrout.rows import Row

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MARK = "vgrout"
TEMPLATE_FAULTS = (TemplateError, *UNREADABLE)  # whatever a template makes jinja raise


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
    except TEMPLATE_FAULTS:  # a template for other roles, or none: `encode_prompt` says so where it matters
        text = ""
    after = tokenizer(str(text).rpartition(MARK)[2], add_special_tokens=False)["input_ids"]
    control = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    if after and after[0] in control:
        return after[0]
    if isinstance(tokenizer.eos_token_id, int):
        return tokenizer.eos_token_id
    raise UserError("model.path", "a tokenizer and a chat template that end no turn", "an eos_token, or a token after a turn")


def stop_ids(path: str, tokenizer: "PreTrainedTokenizerBase") -> tuple[int, ...]:
    """Every id that ends a completion of the model, ascending. Raises UserError for one that is none of its token ids."""
    found: list[object] = [end_of_turn(tokenizer), tokenizer.eos_token_id]
    plain = plain_config(path)
    if plain is not None:
        settings: list[object] = [plain, _generation(Path(path).expanduser())]
        found += [about.get("eos_token_id") for about in settings if isinstance(about, dict)]
        size = plain["vocab_size"]
    else:
        from transformers import GenerationConfig

        about = read_config(path)
        settings = [about, about.get_text_config()]
        try:
            settings.append(GenerationConfig.from_pretrained(path))
        except UNREADABLE as error:
            if (file := Path(path).expanduser() / "generation_config.json").is_file():
                raise UserError(str(file), first_line(error), "settings of generation, or no such file") from None
        found += [getattr(one, "eos_token_id", None) for one in settings]
        size = about.get_text_config().vocab_size
    ids = [one for each in found for one in (each if isinstance(each, list) else [each])]
    for one in ids:
        if one is not None and (type(one) is not int or not 0 <= one < size):
            raise UserError(f"model.path {path}: eos_token_id", repr(one), f"token ids below {size}, the model's vocabulary")
    return tuple(sorted({one for one in ids if type(one) is int}))


def _generation(folder: Path) -> Row:
    """generation_config.json of a folder, empty where there is none. Raises UserError for a file that is no table."""
    file = folder / "generation_config.json"
    about = read_json(file, "settings of generation, or no such file") if file.exists() else {}
    if not isinstance(about, dict):
        raise UserError(str(file), f"a JSON {type(about).__name__}", "settings of generation, or no such file")
    return about
