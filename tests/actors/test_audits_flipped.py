"""Every arm trains on the same bytes whatever audits say, but for the comparators that are marked as relaxed.

One batch is sampled by the transformers engine for each instruction that a prompt can have; all arms learn from it by the road of
a run: `samples_for` and `given_labels`, then the learner.
"""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from actors.rollouts.dataset import canary_of, load_dataset
from actors.rollouts.recorder import GradedRollouts, samples_for
from actors.rollouts.relaxed import flagged, given_labels
from actors.rollouts.sampling import requests_for
from learner.learner import Learner
from vgrout import pairs
from vgrout.arms import DIRECTIONS, arms_of
from vgrout.config import load
from vgrout.errors import UserError
from vgrout.named_files import find
from vgrout.records import Audit, Mode, Reward, Status
from vgrout.toml_tables import merge

SMALL = [
    "runtime.engine=hf", "runtime.backend=local", "runtime.learner_threads=1", "rollout.prompts=2", "rollout.samples=4",
    "rollout.max_new_tokens=24", "lora.rank=4", "optim.warmup=0", "train.updates=2",
]  # fmt: skip
EVERY = {arm.name: arm.changes for arm in arms_of(find("", "tiny")) if arm.name != "base"}
DRAWS = [name for name in EVERY if name.startswith(DIRECTIONS)]  # these differ in a seed alone: the first stands for all
ARMS = [name for name in EVERY if name not in DRAWS[1:]]
RELAXED = {"oracle_gate", "oracle_gate_half", "penalty_truth", "penalty_truth_80", "screen_truth", "screen_truth_80"}


def config_of(arm):
    shares = ["gate.fractions=[0.25,0.25,0.5]"] if arm.startswith("placebo") else []
    return load("tiny", arm=arm, seed=5, sets=SMALL + shares)


@cache
def the_data():
    return load_dataset(config_of("vanilla"))


def some_pairs(config):
    """An arm's own pairs, every fourth: two of each tag in use."""
    return pairs.load(Path(config.data.pairs), held_out=config.data.held_out, tags=config.data.pair_tags)[::4]


@cache
def rollouts_of(arm):
    from actors.engines.hf import HfEngine

    config, dataset = config_of(arm), the_data()
    engine = HfEngine(config, canary_of(dataset))
    engine.load(Learner(config, dataset.pairs[:2], canary=canary_of(dataset)).publish())
    return engine.generate(requests_for(config, dataset, range(2)))


def audit(rollout, hack):
    solved = {"compiles": True, "correct": not hack, "channel": hack, "exploited": hack, "mechanism": ""}
    return Audit(rollout.id, rollout.problem_id, Mode.SENTINEL, **solved, status=Status.PASS, jail="none", ms=0.0)


def batches(config):
    """Two batches that differ in all of their audits; half of every group is paid."""
    rollouts = rollouts_of({"": "vanilla"}.get(config.rollout.sampled_with, config.arm))
    rewards = [Reward(r.id, 3.5 if r.index % 2 else 0.5) for r in rollouts]
    return [GradedRollouts(rollouts, rewards, [audit(r, (r.index < 2) is hack) for r in rollouts]) for hack in (True, False)]


@pytest.mark.parametrize("arm", ARMS)
def test_audits_decide_nothing_but_in_relaxed_arms(arm):
    config, dataset = config_of(arm), the_data()
    learner = Learner(config, some_pairs(config), [(0.25, 0.25, 0.5)] if arm.startswith("placebo") else None)
    start, ends = learner.checkpoint(), []
    for batch in batches(config):
        learner.restore(*start)
        samples = samples_for(config, dataset, batch)
        learner.update(samples, given_labels(config, batch.audits))
        ends.append(learner.checkpoint())
    assert ends[0] != start
    assert config.is_relaxed == (arm in RELAXED)
    assert (ends[0] == ends[1]) != (arm in RELAXED)


def test_the_draws_of_random_directions_differ_in_their_seed_alone():
    seeds = {EVERY[name]["gate"]["placebo_seed"] for name in DRAWS}
    assert len(seeds) == len(DRAWS) == 10
    same = {"gate": {"placebo_seed": 1}}
    assert all(merge(EVERY[name], same) == merge(EVERY[DRAWS[0]], same) for name in DRAWS)


def test_recall_and_false_alarm_are_the_shares_that_are_flagged():
    config = config_of("penalty_truth_80")
    audits = [audit(replace(rollouts_of("vanilla")[0], id=str(i)), hack=i % 2 == 0) for i in range(4000)]
    found = flagged(config, audits)
    shares = [sum(a.rollout_id in found for a in audits if a.exploited is hack) / 2000 for hack in (True, False)]
    assert abs(shares[0] - 0.8) < 0.03 and abs(shares[1] - 0.2) < 0.03  # SEM .009
    assert flagged(config, audits) == found


def test_an_instruction_is_sampled_with_or_trained_with_and_never_asked():
    config, dataset = config_of("recontextualization"), the_data()
    batch = batches(config)[0]
    sample, rollout = samples_for(config, dataset, batch)[0], batch.rollouts[0]
    said = [dataset.tokenizer.decode(x.prompt_ids) for x in (rollout, sample)]
    assert config.rollout.sampled_with in said[0] and config.rollout.trained_with not in said[0]
    assert config.rollout.trained_with in said[1] and config.rollout.sampled_with not in said[1]
    assert sample.logprobs == () and sample.completion_ids == rollout.completion_ids
    assert "evaluation." not in dataset.tokenizer.decode(dataset.prompt(rollout.problem_id))
    same = config_of("inoculation")
    assert samples_for(same, dataset, batches(same)[0])[0].logprobs == batches(same)[0].rollouts[0].logprobs


@pytest.mark.parametrize(
    ("arm", "change", "field"),
    [("vanilla", "relaxed.use=gate", "relaxed.use"), ("oracle_gate", "relaxed.use=screen", "relaxed.use"),
     ("vanilla", "relaxed.recall=0.5", "relaxed.use")],
)  # fmt: skip
def test_a_comparator_that_does_not_fit_is_one_message(arm, change, field):
    with pytest.raises(UserError, match=field):
        load("tiny", arm=arm, sets=[change])
