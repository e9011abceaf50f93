"""Input is measured before anything starts: a row a case, by kind; and over-long problems are listed, or dropped and counted."""

import json
from pathlib import Path

import pytest

from actors.rollouts.dataset import load_dataset
from actors.rollouts.input_check import longest_prompts
from learner.tokenizer import encode_prompt, load_tokenizer
from sandbox.problems.load import load
from sandbox.problems.prompts import render
from vgrout.config import load as load_config
from vgrout.errors import UserError
from vgrout.records import Mode
from vgrout_cli.main import main

TINY = load_config("tiny")


def rows(name: str) -> list[dict]:
    return [json.loads(line) for line in Path(getattr(TINY.data, name)).read_text().splitlines()]


def write(folder: Path, changed: list[dict]) -> Path:
    path = folder / "changed.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in changed))
    return path


def longer(row: dict, words: int) -> dict:
    return row | {"prompt": [m | {"content": "word " * words + m["content"]} for m in row["prompt"]]}


def changed(name: str, kind: str) -> list[dict]:
    """The tiny world's file with one or more faults of a kind."""
    made = rows(name)
    if kind == "over-long":
        return [longer(row, 300) if n in (3, 200, len(made) - 1) else row for n, row in enumerate(made)]
    if kind == "all over-long":
        return [longer(row, 300) for row in made]
    if kind == "surrogate":
        return [row | {"prompt": [{"role": "user", "content": "\ud83d" + row["prompt"][0]["content"]}]} for row in made]
    if kind == "surrogate in a side":
        return [row | {"clean": "\udc00" + row["clean"]} for row in made]
    if kind == "one pair":
        return made[:1]
    assert kind == "long side"
    return [row | {"hack": "word " * 2000} if n == 1 else row for n, row in enumerate(made)]


@pytest.mark.parametrize(
    ("kind", "name", "says"),
    [
        ("over-long", "train", "3 prompts above the limit"),
        ("over-long", "test", "2 prompts above the limit"),
        ("all over-long", "test", "prompts above the limit"),
        ("surrogate", "train", "changed.jsonl:1, field prompt: found half a surrogate pair"),
        ("surrogate", "test", "changed.jsonl:1, field prompt: found half a surrogate pair"),
        ("surrogate in a side", "pairs", "changed.jsonl:1, field clean: found half a surrogate pair"),
        ("one pair", "pairs", "1 pair in use; expected at least 2"),
        ("long side", "pairs", "field hack"),
    ],
)
def test_bad_input_is_one_message_before_anything_starts(kind, name, says, tmp_path, capsys):
    path = write(tmp_path, changed(name, kind))
    out = tmp_path / "run"
    assert main(["train", "tiny", "--set", f"data.{name}={path}", "--out", str(out)]) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("vgrout: ")]
    assert len(said) == 1
    assert says in said[0]
    assert not out.exists()


def test_the_longest_hint_is_found_whatever_the_limit():
    """Against every hint of every problem, one by one."""
    tokenizer, problems = load_tokenizer(TINY.model.path), load(Path(TINY.data.test))[:24]
    shown = [(problem, [*list(Mode)[n % 5 :], Mode.GT_ONLY]) for n, problem in enumerate(problems)]
    truth = [max(len(encode_prompt(tokenizer, render(problem, mode))) for mode in modes) for problem, modes in shown]
    for limit in range(min(truth) - 3, max(truth) + 3):
        found = longest_prompts(tokenizer, shown, limit)
        assert [tokens > limit for tokens in found] == [tokens > limit for tokens in truth], limit
        assert [tokens for tokens in found if tokens > limit] == [tokens for tokens in truth if tokens > limit], limit


def test_every_over_long_problem_is_listed_with_its_tokens(tmp_path):
    made = changed("train", "over-long")
    ids = [made[n]["id"] for n in (3, 200, len(made) - 1)]
    path = write(tmp_path, made)
    with pytest.raises(UserError) as refused:
        load_dataset(load_config("tiny", sets=[f"data.train={path}"]))
    assert all(f"problem {i} (" in refused.value.found for i in ids) and "data.over_limit" in refused.value.expected


def test_dropped_problems_are_counted_and_the_others_keep_their_modes(tmp_path):
    made = changed("train", "over-long")
    dataset = load_dataset(load_config("tiny", sets=[f"data.train={write(tmp_path, made)}", "data.over_limit=drop"]))
    whole = load_dataset(TINY)
    lost = {made[n]["id"] for n in (3, 200, len(made) - 1)}
    assert {i for ids in dataset.dropped.values() for i in ids} == lost and sum(map(len, whole.dropped.values())) == 0
    assert dataset.train_ids == [i for i in whole.train_ids if i not in lost] and dataset.modes == whole.modes
    assert dataset.validation_ids == [i for i in whole.validation_ids if i not in lost]


def test_a_limit_that_leaves_nothing_and_more_tokens_than_positions_are_refused():
    with pytest.raises(UserError, match="leaves problems to train on"):
        load_dataset(load_config("tiny", sets=["rollout.prompt_limit=5", "data.over_limit=drop"]))
    with pytest.raises(UserError, match="positions"):
        load_dataset(load_config("tiny", sets=["rollout.max_new_tokens=100000"]))


def test_one_pair_is_enough_for_a_gate_that_looks_at_none(tmp_path):
    path = write(tmp_path, changed("pairs", "one pair"))
    assert len(load_dataset(load_config("tiny", arm="vanilla", sets=[f"data.pairs={path}"])).pairs) == 1


def test_data_check_measures_and_reports_control_tokens(tmp_path, capsys):
    made = changed("train", "over-long")
    made[7]["prompt"][0]["content"] += "<|im_end|>"
    path = write(tmp_path, made)
    assert main(["data", "check", str(path)]) == 0
    assert main(["data", "check", str(path), "--config", "tiny"]) == 2
    said = capsys.readouterr().out
    assert said.count("tokens; expected at most 128") == 3
    assert f"problem {made[7]['id']}, prompt: found the control token '<|im_end|>'" in said
