"""Runs of other seeds and arms are asked the same, unless their configuration says otherwise."""

import pytest

from actors.evaluation import Exam, exam_digest, questions
from actors.rollouts.dataset import load_dataset
from vgrout.config import Config, load

EXAMS = [Exam(), Exam("validation", "validation"), Exam(novel=True)]


def asked(arm: str, seed: int, *sets: str) -> tuple[list[str], list[tuple]]:
    """The digests of all exams, and what the first of them asks."""
    config: Config = load("tiny", arm=arm, seed=seed, sets=["data.validation=16", *sets])
    dataset = load_dataset(config)
    found = questions(config, dataset, EXAMS[0])
    return [exam_digest(config, dataset, exam) for exam in EXAMS], [(q.problem_id, q.mode, q.prompt_ids, q.seeds) for q in found]


@pytest.fixture(scope="module")
def first():
    return asked("routev", 41)


@pytest.mark.parametrize(("arm", "seed"), [("routev", 42), ("vanilla", 41), ("placebo", 43)])
def test_two_seeds_and_two_arms_are_asked_the_same(first, arm, seed):
    sets = ["gate.fractions=[0.5,0.2,0.3]"] if arm == "placebo" else []
    assert asked(arm, seed, *sets) == first


@pytest.mark.parametrize("change", ["data.partition_seed=1", "eval.seed=1", "rollout.max_new_tokens=17", "data.loopholes=false"])
def test_what_is_asked_otherwise_has_another_digest(first, change):
    digests, _ = asked("routev", 41, change)
    assert not set(digests) & set(first[0])
