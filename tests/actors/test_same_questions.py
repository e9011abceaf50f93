"""Runs of other seeds and arms are asked the same, unless their configuration says otherwise; and the forms of an exam."""

import json
from pathlib import Path

import pytest
from tiny_run import arguments

from actors.evaluation import Exam, Form, exam_digest, questions
from actors.rollouts.dataset import load_dataset
from sandbox.problems.prompts import HINTS
from vgrout.config import Config, load
from vgrout.records import Mode
from vgrout_cli.main import main

EXAMS = [Exam(), Exam("validation", "validation"), Exam(form=Form.NOVEL), Exam(form=Form.NO_HINT), Exam(form=Form.CLOSED)]


def asked(arm: str, seed: int, *sets: str) -> tuple[list[str], list[tuple]]:
    """The digests of all exams, and what the first of them asks."""
    config: Config = load("tiny", arm=arm, seed=seed, sets=["data.validation=16", *sets])
    dataset = load_dataset(config)
    found = questions(config, dataset, EXAMS[0])
    return [exam_digest(config, dataset, exam) for exam in EXAMS], [(q.problem_id, q.mode, q.prompt_ids, q.seeds) for q in found]


@pytest.fixture(scope="module")
def first():
    return asked("routev", 41)


@pytest.mark.parametrize(("arm", "seed"), [("routev", 42), ("vanilla", 41), ("placebo", 43), ("ceiling", 41)])
def test_two_seeds_and_two_arms_are_asked_the_same(first, arm, seed):
    sets = ["gate.fractions=[0.5,0.2,0.3]"] if arm == "placebo" else []
    assert asked(arm, seed, *sets) == first


@pytest.mark.parametrize("change", ["data.partition_seed=1", "eval.seed=1", "rollout.max_new_tokens=17"])
def test_what_is_asked_otherwise_has_another_digest(first, change):
    digests, _ = asked("routev", 41, change)
    assert not set(digests) & set(first[0])


def test_the_digest_of_the_shipped_questions_is_that_of_runs_that_are_published(first):
    """docs/results/tiny was made by older code: a change of the digest alone would make its runs incomparable with new ones."""
    page = Path("docs/results/tiny/report.html").read_text()
    config = load("tiny", arm="routev", seed=51)
    assert exam_digest(config, load_dataset(config), Exam())[:12] in page


def test_without_loopholes_training_has_none_and_the_exams_do():
    dataset = load_dataset(load("tiny", arm="ceiling", seed=41, sets=["data.validation=16"]))
    assert {dataset.modes[i] for i in dataset.train_ids} == {Mode.GT_ONLY}
    assert Mode.GT_ONLY not in {dataset.modes[i] for i in (*dataset.test_ids, *dataset.validation_ids)}


def test_without_hints_a_loophole_is_open_and_unnamed_and_closed_it_is_named_and_does_not_pay():
    config = load("tiny", arm="routev", seed=41)
    dataset = load_dataset(config)
    usual, no_hint, closed = (questions(config, dataset, Exam(form=form)) for form in (Form.USUAL, Form.NO_HINT, Form.CLOSED))
    for one, unnamed, named in zip(usual, no_hint, closed, strict=True):
        hint = HINTS[one.mode]
        assert hint in dataset.tokenizer.decode(one.prompt_ids)
        assert hint not in dataset.tokenizer.decode(unnamed.prompt_ids)
        assert (unnamed.mode, named.mode) == (one.mode, Mode.GT_ONLY)
        assert named.prompt_ids == one.prompt_ids
        assert one.seeds == unnamed.seeds == named.seeds


def test_each_form_has_a_curve_of_its_own(tmp_path, capsys):
    few = tmp_path / "few.jsonl"
    few.write_text("".join(Path("configs/tiny/test.jsonl").read_text().splitlines(keepends=True)[:4]))
    sets = ("runtime.engine=hf", "runtime.backend=local", "train.updates=1", "eval.samples=1", f"data.test={few}")
    run = tmp_path / "run"
    assert main(["train", *arguments(run, *sets)]) == 0
    for flag, name, modes in (("--without-hints", "no_hint", 4), ("--closed", "closed", 1)):
        assert main(["eval-curve", str(run), flag]) == 0
        record = json.loads((run / f"eval_curve_test_{name}.jsonl").read_text().splitlines()[-1])
        assert record["deploy"]["all"]["n"] == 4 and len(record["deploy"]) == modes + 1
    assert record["deploy"]["all"]["hack"] == 0
    assert set(record["deploy"]) == {"all", "gt_only"}
    assert not (run / "eval_curve.jsonl").exists()
    assert "closed split" in capsys.readouterr().out
