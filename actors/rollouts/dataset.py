"""The data of a run: problems, which problem has which loophole, and prompts in token ids.

Invariant: training ids, validation ids and test ids are disjoint, and a problem has one mode for the whole run.
"""

import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import try_to_load_from_cache

from actors.engines.protocol import Canary
from actors.rollouts.input_check import check_model, check_pairs, control_tokens, over_long, refuse
from learner.pair_tokens import tokenize_pairs
from learner.tokenizer import encode_completion, encode_prompt, load_tokenizer
from sandbox.loopholes.loophole import Loophole
from sandbox.loopholes.plug_in import read
from sandbox.problems.contamination import check_overlaps
from sandbox.problems.load import check_splits, load
from sandbox.problems.novel_markers import render_novel, words_with
from sandbox.problems.partition import partition
from sandbox.problems.prompts import hints_with, instructed, render
from vgrout import pairs as pair_file
from vgrout import teacher_file as teacher
from vgrout.config import Config
from vgrout.errors import UserError
from vgrout.files import file_sha256
from vgrout.problem_order import split_validation
from vgrout.records import Mode, Pair, Problem
from vgrout.teacher_file import Demonstration

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Dataset:
    """Problems by id, their modes, the ids of the three splits, and the teacher's demonstrations by training problem."""

    problems: dict[int, Problem]
    modes: dict[int, str]
    train_ids: list[int]
    validation_ids: list[int]
    test_ids: list[int]
    pairs: list[Pair]
    tokenizer: "PreTrainedTokenizerBase"
    prompt_limit: int
    demonstrations: dict[int, list[Demonstration]]
    teacher_covered_ids: list[int]
    dropped: dict[str, list[int]]  # problems above the prompt limit by split, where data.over_limit is "drop"
    plug_ins: dict[str, Loophole] = field(default_factory=dict)  # loopholes that do not come with vGROUT, by name

    @cached_property
    def hints(self) -> dict[str, str]:
        """The hint of every mode."""
        return hints_with(self.plug_ins)

    @cached_property
    def words(self) -> dict[str, str]:
        """The markers of all loopholes, and their other words."""
        return words_with(self.plug_ins)

    def prompt(self, problem_id: int, mode: str | None = None, *, novel: bool = False, extra: str = "") -> tuple[int, ...]:
        """Token ids of a problem's prompt with the hint of `mode` (None: its own), in usual or novel words, and at its end the
        instruction `extra`.

        Raises UserError above the prompt limit.
        """
        asked = self.problems[problem_id], mode or self.modes[problem_id], self.hints
        chat = render_novel(*asked, self.words) if novel else render(*asked)
        ids = encode_prompt(self.tokenizer, instructed(chat, extra))
        if len(ids) > self.prompt_limit:
            raise UserError(f"problem {problem_id}", f"a prompt of {len(ids)} tokens", f"at most {self.prompt_limit}")
        return ids


def load_dataset(config: Config) -> Dataset:
    """Read problems and pairs, check the splits, partition each split evenly over the loopholes.

    Raises UserError for a bad file, splits or pairs that overlap (by id or by normalised prompt), or a validation slice that
    leaves nothing to train on.
    """
    data = config.data
    plug_ins = read(data.plug_ins.values())
    train, test = load(Path(data.train)), load(Path(data.test))
    check_splits(train, test)
    train_ids, validation_ids = split_validation([p.id for p in train], data.validation, data.partition_seed)
    if not train_ids:
        raise UserError("data.validation", f"{data.validation} of {len(train)} training ids", "fewer")
    modes: dict[int, str] = {}
    for name, ids in (("train", train_ids), ("validation", validation_ids), ("test", [p.id for p in test])):
        # Without loopholes it is trained, and yet asked as all runs are: a share of two solve rates needs the same questions.
        hinted = data.loopholes or name != "train"
        modes |= partition(ids, data.partition_seed, data.mode_names) if hinted else dict.fromkeys(ids, Mode.GT_ONLY)
        assert all(i in modes for i in ids), name
    pairs = pair_file.load(Path(data.pairs), data.held_out, data.pair_tags, data.known_modes)
    check_overlaps(train, test, Path(data.pairs), pairs, hints_with(plug_ins))
    tokenizer = load_tokenizer(config.model.path)
    check_pairs(config, tokenizer, pairs, check_model(config, tokenizer))
    problems = {p.id: p for p in [*train, *test]}
    splits = {"train": train_ids, "validation": validation_ids, "test": sorted(p.id for p in test)}
    long = over_long(config, tokenizer, splits, problems, modes, hints_with(plug_ins))
    if data.over_limit == "error":
        refuse(long, config.rollout.prompt_limit)
    dropped = {split: [one.problem_id for one in long if one.split == split] for split in splits}
    train_ids, validation_ids, test_ids = ([i for i in ids if i not in set(dropped[name])] for name, ids in splits.items())
    if not train_ids:
        raise UserError("rollout.prompt_limit", str(config.rollout.prompt_limit), "a limit that leaves problems to train on")
    for warning in control_tokens(tokenizer, problems.values()):
        print(f"vgrout: {warning}", file=sys.stderr, flush=True)
    shown = _demonstrations(config, train_ids, modes, tokenizer)
    return Dataset(
        problems=problems,
        modes=modes,
        train_ids=train_ids,
        validation_ids=validation_ids,
        test_ids=test_ids,
        pairs=pairs,
        tokenizer=tokenizer,
        prompt_limit=config.rollout.prompt_limit,
        demonstrations=shown,
        teacher_covered_ids=[i for i in train_ids if any(d.fits(modes[i], modes[i]) for d in shown.get(i, []))],
        dropped=dropped,
        plug_ins=plug_ins,
    )


def check_what_is_here(config: Config) -> list[str]:
    """Check data, prompts and base as a run does, where they are on this machine; what was not checked, and why.

    Raises UserError.
    """
    read(config.data.plug_ins.values())
    names = [f"data.{name} {path}" for name, path in _files(config).items() if not Path(path).exists()]
    if names:
        return [f"not here yet, so not checked: {', '.join(names)} (`vgrout data fetch` gets problem files)"]
    path = config.model.path
    if not Path(path).expanduser().is_dir() and not isinstance(try_to_load_from_cache(path, "tokenizer_config.json"), str):
        return [f"prompts are not measured: the tokenizer of {path} is not on this machine (`hf download {path}`)"]
    load_dataset(config)
    return []


def _files(config: Config) -> dict[str, str]:
    files = {name: getattr(config.data, name) for name in ("train", "test", "pairs")}
    more = {"teacher": config.teacher.path, "warm_start": config.train.warm_start}
    return files | {name: path for name, path in more.items() if path}


def _demonstrations(
    config: Config, train_ids: list[int], modes: dict[int, str], tokenizer: "PreTrainedTokenizerBase"
) -> dict[int, list[Demonstration]]:
    """The teacher's rollouts by training problem; empty without a teacher.

    Raises UserError for a completion above `max_new_tokens`, or where no training problem has one under its own mode.
    """
    if not config.teacher.path:
        return {}
    found: dict[int, list[Demonstration]] = {}
    limit = config.rollout.max_new_tokens
    for one in teacher.load(Path(config.teacher.path), config.data.known_modes):
        if (tokens := len(encode_completion(tokenizer, one.completion))) > limit:
            raise UserError(f"{one.where}, field completion", f"{tokens} tokens", f"at most {limit} (rollout.max_new_tokens)")
        if one.problem_id in modes:
            found.setdefault(one.problem_id, []).append(one)
    if not any(d.fits(modes[i], modes[i]) for i in train_ids for d in found.get(i, [])):
        raise UserError(
            "teacher.path", f"{config.teacher.path} (no rollout of a training problem under its mode)", "at least one"
        )
    return found


def canary_of(dataset: Dataset) -> Canary:
    """The fixed text by which engines check an adapter: prompt and clean side of the first pair, as the learner has it."""
    side = tokenize_pairs(dataset.tokenizer, dataset.pairs[:1]).clean[0]
    return side.prompt_ids, side.completion_ids


def data_digests(config: Config) -> dict[str, str]:
    """SHA-256 of the data files and of plug-in loopholes, for run.json."""
    return {name: file_sha256(Path(path)) for name, path in _files(config).items()} | plug_in_digests(config)


def plug_in_digests(config: Config) -> dict[str, str]:
    """SHA-256 of the files of plug-in loopholes: what hints say and what is paid."""
    return {f"loophole.{name}": file_sha256(path) for name, path in config.data.plug_ins.items()}
