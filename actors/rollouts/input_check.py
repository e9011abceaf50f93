"""Every prompt and pair of a run, rendered and measured before anything starts.

Invariant: after the check no prompt of a split is above the limit, with any hint that it may be shown with. Problems that are
left out are listed by split. Nothing is drawn at random.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actors.planning.adapter_slots import check_precision, lora_limit
from actors.planning.dry_run import check_split
from actors.planning.gpu_memory import kv_need
from actors.planning.model_shape import shape_of
from actors.planning.plain_shape import plain_shape
from learner.model_config import check_weights
from learner.stop_ids import stop_ids
from learner.tokenizer import check_vocabulary, encode_completion, encode_prompt, model_positions, prompt_lengths
from sandbox.jail.runtime import not_installed
from sandbox.problems.load import Finding
from sandbox.problems.prompts import HINTS, render
from vgrout.config import Config, ScoringGate
from vgrout.errors import UserError
from vgrout.records import Mode, Pair, Problem

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MARGIN = 16  # tokens; two places where texts meet, each with a token or two on both sides


@dataclass(frozen=True)
class Long:
    """A problem whose prompt is above the limit."""

    split: str
    problem_id: int
    tokens: int

    def __str__(self) -> str:
        return f"problem {self.problem_id} ({self.split}): {self.tokens} tokens"


def over_long(
    config: Config,
    tokenizer: "PreTrainedTokenizerBase",
    splits: Mapping[str, Sequence[int]],
    problems: dict[int, Problem],
    modes: dict[int, str],
    hints: Mapping[str, str] = HINTS,
) -> list[Long]:
    """All problems above rollout.prompt_limit, in their splits' order, each with its longest hint."""
    hint_free = {Mode.GT_ONLY} if config.rollout.hint_free_share else set()
    limit, found = config.rollout.prompt_limit, []
    for split, ids in splits.items():
        shown = [(problems[i], {modes[i], *(hint_free if split == "train" else ())}) for i in ids]
        room = limit - (instruction_tokens(config, tokenizer) if split == "train" else 0)
        lengths = [tokens + limit - room for tokens in longest_prompts(tokenizer, shown, room, hints)]
        found += [Long(split, i, tokens) for i, tokens in zip(ids, lengths, strict=True) if tokens > limit]
    return found


def instruction_tokens(config: Config, tokenizer: "PreTrainedTokenizerBase") -> int:
    """Tokens of the longer instruction at the end of training prompts, with MARGIN for where it meets them; 0 without one."""
    texts = [text for text in (config.rollout.sampled_with, config.rollout.trained_with) if text]
    return max((len(tokenizer(text, add_special_tokens=False)["input_ids"]) + MARGIN for text in texts), default=0)


def check_model(config: Config, tokenizer: "PreTrainedTokenizerBase") -> int:
    """Check the base as far as its folder tells: weights, vocabulary, stop ids, targets, and what the engine takes of it.

    Returns the tokens that it has positions for. Raises UserError.
    """
    path, runtime = config.model.path, config.runtime
    check_vocabulary(path, tokenizer)
    stop_ids(path, tokenizer)
    positions = model_positions(path)
    check_positions(config, positions)
    shape = plain_shape(path) or shape_of(path)
    check_weights(path, shape.tensors)
    shape.targets(config.lora.targets)
    check_split(config, shape)
    check_precision(config)
    if runtime.engine == "vllm":
        lora_limit(config)
        need = kv_need(config, shape)
        least = -(-need.bytes // 2**20)
        if not runtime.engine_gpus and least > runtime.kv_cache_mib:
            raise UserError("runtime.kv_cache_mib", str(runtime.kv_cache_mib), f"at least {least}: {need.formula}")
    if missing := not_installed(runtime.packages):
        raise UserError("runtime.packages", repr(missing[0]), "the import name of an installed package")
    return positions


def check_pairs(config: Config, tokenizer: "PreTrainedTokenizerBase", pairs: Sequence[Pair], positions: int) -> None:
    """Raise UserError for pairs that no band can be cross-fitted on, or that are longer than the model's positions."""
    if isinstance(config.gate, ScoringGate) and len(pairs) < 2:
        raise UserError(f"data.pairs {config.data.pairs}", f"{len(pairs)} pair in use", "at least 2, to cross-fit the band on")
    for pair in pairs:
        prompt = len(encode_prompt(tokenizer, pair.messages))
        for name, side in (("hack", pair.hack), ("clean", pair.clean)):
            if (tokens := prompt + len(encode_completion(tokenizer, side))) > positions:
                raise UserError(f"{config.data.pairs}, pair {pair.id}, field {name}", f"{tokens} tokens", f"at most {positions}")


def check_positions(config: Config, positions: int) -> None:
    """Raise UserError where a full-length rollout has more tokens than the model has positions."""
    longest = config.rollout.prompt_limit + config.rollout.max_new_tokens
    if longest > positions:
        found = f"{config.rollout.prompt_limit}, and rollout.max_new_tokens {config.rollout.max_new_tokens}: {longest} tokens"
        raise UserError("rollout.prompt_limit", found, f"at most {positions} together, the model's positions")


def refuse(long: Sequence[Long], limit: int) -> None:
    """Raise UserError that lists every problem above the limit."""
    if long:
        listed = "; ".join(map(str, long))
        wanted = f"prompts of at most {limit} tokens (rollout.prompt_limit), or data.over_limit = 'drop'"
        raise UserError("data", f"{len(long)} prompts above the limit: {listed}", wanted)


def longest_prompts(
    tokenizer: "PreTrainedTokenizerBase",
    shown: Sequence[tuple[Problem, Collection[str]]],
    limit: int,
    hints: Mapping[str, str] = HINTS,
) -> list[int]:
    """Tokens of each problem's prompt with the longest of the hints that it is shown with.

    The hint with the most tokens by itself is measured in every prompt. Where another hint meets its prompt, a few tokens can
    differ, so the others are measured where that could decide whether the prompt is above `limit`, and above it.
    """
    size = {mode: len(tokenizer(hint, add_special_tokens=False)["input_ids"]) for mode, hint in hints.items()}
    first = [max(sorted(modes), key=size.__getitem__) for _, modes in shown]
    lengths = prompt_lengths(tokenizer, [render(problem, mode, hints) for (problem, _), mode in zip(shown, first, strict=True)])
    near = [place for place, tokens in enumerate(lengths) if tokens > limit - MARGIN]
    others = [(place, mode) for place in near for mode in sorted(shown[place][1]) if mode != first[place]]
    counts = prompt_lengths(tokenizer, [render(shown[place][0], mode, hints) for place, mode in others])
    for (place, _), tokens in zip(others, counts, strict=True):
        lengths[place] = max(lengths[place], tokens)
    return lengths


def control_tokens(tokenizer: "PreTrainedTokenizerBase", problems: Iterable[Problem], prefix: str = "") -> list[Finding]:
    """Problems whose text holds one of the tokenizer's control tokens, which the model would read as such."""
    tokens = sorted(set(tokenizer.all_special_tokens))
    return [
        Finding(f"{prefix}problem {problem.id}, prompt", f"the control token {token!r} in its text", "plain text")
        for problem in problems
        for token in tokens
        if any(token in message.content for message in problem.messages)
    ]
