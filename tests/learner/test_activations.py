"""Activations are the mean of `A[:r] x` over a rollout's own completion tokens, whatever it is packed with."""

from pathlib import Path

import pytest
import torch

from learner import packed_attention
from learner.activations import activations
from learner.gate import Band
from learner.learner import Learner
from learner.pair_tokens import PairTokens
from learner.router import Refresh, Router
from learner.score_penalty import learned_from
from vgrout import pairs
from vgrout.config import ObjectiveConfig, PairsGate, load
from vgrout.records import GateLabel

SMALL = ["lora.rank=4", "lora.targets=['v_proj','down_proj']", "runtime.learner_threads=1"]


@pytest.fixture(scope="module")
def learner():
    config = load("tiny", arm="activation_gate", seed=2, sets=SMALL)
    return Learner(config, pairs.load(Path(config.data.pairs))[::8])


@pytest.mark.parametrize("initial", [True, False])
def test_they_are_the_mean_of_what_plain_transformers_feeds_each_module(learner, initial):
    items = learner.router.pairs.hack[:3]
    act_GMR = activations(learner.model, learner.lora, items, initial=initial, budget=4096)
    seen = {}

    def keep(name):
        return lambda module, inputs: seen.__setitem__(name, inputs[0][0])

    handles = [m.register_forward_pre_hook(keep(name)) for name, m in learner.lora.modules.items()]
    learner.model.set_attn_implementation("eager")
    for item, act_MR in zip(items, act_GMR, strict=True):
        with torch.no_grad():  # an untrained adapter adds exactly nothing
            learner.model(input_ids=torch.tensor([item.prompt_ids + item.completion_ids]))
        for (name, module), act_R in zip(learner.lora.modules.items(), act_MR, strict=True):
            plain_R = (seen[name] @ module.a0_SI[:4].T)[len(item.prompt_ids) :].mean(0)
            assert torch.allclose(act_R, plain_R, atol=2e-4)
    [handle.remove() for handle in handles]
    learner.model.set_attn_implementation(packed_attention.NAME)


def test_a_high_score_costs_reward_or_advantage_and_nothing_where_it_routes():
    rewards, groups, labels = [3.5, 0.5, 3.5, 0.5, 1.0, 1.0], [0, 0, 0, 0, 1, 1], [GateLabel.CLEAN] * 6
    score_G = torch.tensor([0.4, -0.1, -0.2, -0.1, 0.5, -0.5])

    def gained(lower=0.0, upper=0.0, **fields):
        router = Router(PairsGate(**fields), 0, PairTokens((), [], []))
        router.refresh = Refresh(torch.zeros(1, 1, 1), Band(lower, upper), 1.0, 0.0)
        return learned_from(router, ObjectiveConfig(), rewards, groups, labels, score_G)

    plain = gained()
    assert plain.advantage_G.tolist() == [1.5, -1.5, 1.5, -1.5, 0, 0]
    less = gained(act="reward", weight=3.0)  # the first of each group is paid 3 less
    assert less.advantage_G.tolist() == [-0.75, -0.75, 2.25, -0.75, -1.5, 1.5]
    # The edges the wrong way round: above their midpoint, as the gate itself decides.
    assert gained(0.6, 0.0, act="reward", weight=3.0).advantage_G.tolist() == less.advantage_G.tolist()
    z_G = (score_G[:4] - score_G[:4].mean()) / score_G[:4].std()
    moved = gained(act="advantage", weight=2.0)
    assert torch.allclose(moved.advantage_G[:4], plain.advantage_G[:4] - 2 * z_G, atol=1e-4)
    assert moved.advantage_G[4:].tolist() == [0, 0] and moved.skipped_G.tolist() == plain.skipped_G.tolist()
