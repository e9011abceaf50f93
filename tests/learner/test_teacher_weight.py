"""A teacher's rollout weighs 1 whatever the policy thinks of it, and is in no measure of the engine."""

from pathlib import Path

import pytest
import torch

from learner.ahead import NOTHING
from learner.data_parallel import SOLO
from learner.fixed_terms import fixed_terms
from vgrout.config import load
from vgrout.records import Author, GateLabel, Sample, Sampling


def sample(ids, number, author):
    logprobs = () if author is Author.TEACHER else tuple(-2.0 - 0.1 * i for i in range(len(ids.completion_ids)))
    return Sample(f"0-{number}", 0, ids.prompt_ids, ids.completion_ids, logprobs, Sampling.TRAIN, 0, 1.0, author)


def terms(model, lora, config, samples):
    """Clean rollouts that both blocks wrote: their weights need a pass of their own."""
    return fixed_terms(model, lora, config, samples, [GateLabel.CLEAN] * len(samples), [NOTHING] * len(samples), SOLO)


def test_weights_and_mismatch(trained):
    from random_model import rollouts

    model, lora = trained
    config = load(Path("configs/tiny.toml"), sets=["objective.kl=0.1"])
    authors = [Author.STUDENT, Author.TEACHER, Author.STUDENT, Author.STUDENT, Author.TEACHER]
    mixed = [sample(ids, n, author) for n, (ids, author) in enumerate(zip(rollouts(5), authors, strict=True))]
    students = [s for s in mixed if s.author is Author.STUDENT]
    both, alone = terms(model, lora, config, mixed), terms(model, lora, config, students)
    for n, author in enumerate(authors):
        assert (both.weight[n] == 1).all() == (author is Author.TEACHER)
        assert len(both.weight[n]) == len(mixed[n].completion_ids)
    for mine, theirs in zip((0, 2, 3), range(3), strict=True):
        torch.testing.assert_close(both.weight[mine], alone.weight[theirs])
    assert both.metrics(SOLO) == pytest.approx(alone.metrics(SOLO), rel=1e-5, nan_ok=True)
