"""Seats and bundles against layouts worked out by hand."""

from pathlib import Path

import pytest

from actors.planning.placement import place
from vgrout.config import load
from vgrout.errors import UserError

TINY = Path("configs/tiny.toml")


def layout(**runtime):
    """(bundles, {role number: bundle})."""
    made = place(load(TINY, sets=[f"runtime.{k}={v}" for k, v in runtime.items()]))
    return made.bundles, {f"{s.role} {s.number}": s.bundle for s in made.seats}


def test_on_the_cpu_every_actor_has_a_bundle_of_its_own():
    bundles, seats = layout(engines=2)
    assert bundles == ((0.5, 0),) * 3 and seats == {"learner 0": 0, "engine 0": 1, "engine 1": 2}


def test_shares_of_one_gpu_lie_together_and_whole_ones_apart():
    assert layout(learner_gpus=0.5, engine_gpus=0.5) == (((1.0, 1),), {"learner 0": 0, "engine 0": 0})
    bundles, seats = layout(learner_gpus=1, engine_gpus=1, engines=2)
    assert bundles == ((0.5, 1),) * 3 and set(seats.values()) == {0, 1, 2}


def test_two_learners_never_share_a_gpu():
    bundles, seats = layout(learner_gpus=0.5, engine_gpus=0.5, learners=2, engines=2)
    assert bundles == ((1.0, 1), (1.0, 1))
    assert seats == {"learner 0": 0, "learner 1": 1, "engine 0": 0, "engine 1": 1}


def test_a_tensor_parallel_engine_has_its_gpus_in_one_bundle():
    bundles, seats = layout(learner_gpus=1, engine_gpus=1, engine_tp=4, engines=2, learners=2)
    assert bundles == ((0.5, 1), (0.5, 1), (0.5, 4), (0.5, 4)) and seats["engine 1"] == 3


def test_shares_that_ray_cannot_book_are_refused():
    with pytest.raises(UserError, match=r"runtime\.engine_tp"):
        layout(engine_tp=2, engine_gpus=0.5)
    with pytest.raises(UserError, match=r"runtime\.learner_gpus"):
        layout(learner_gpus=2)
