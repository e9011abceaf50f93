"""What is computed ahead of an update changes nothing in it: the same bytes, in whatever order the groups came."""

import pickle
import random
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from learner import side_by_side
from learner.ahead import Ahead
from learner.cprobe import probe
from learner.data_parallel import Team
from learner.learner import Learner
from vgrout import pairs
from vgrout.config import load
from vgrout.records import Sample, Sampling

SMALL = ["lora.rank=16", "runtime.learner_threads=1", "optim.warmup=1", "train.micro_tokens=512"]


def two_updates(arm, sets, orders, sampling=Sampling.TRAIN, early=False):
    """(adapter bytes, metrics) after two updates; `orders` says which groups are prepared when, update by update.

    `early`: the groups of the second update are prepared before the first one, too.
    """
    config = load(Path("configs/tiny.toml"), arm=arm, seed=5, sets=[*SMALL, *sets])
    learner = Learner(config, pairs.load(Path(config.data.pairs))[:8])
    metrics, batches = [], []
    for update in range(2):
        draw, samples = random.Random(update), []
        for n in range(12):
            ids = tuple(draw.randrange(3, 600) for _ in range(draw.randint(4, 30)))
            prompt = learner.router.pairs.clean[n // 4].prompt_ids
            reward = draw.choice([0.0, 0.5, 3.5])
            samples.append(Sample(f"{update}-{n}", n // 4, prompt, ids, (-5.0,) * len(ids), sampling, 0, reward))
        batches.append(samples)
    for samples, order in zip(batches, orders, strict=True):
        for group in order:
            learner.prepare([s for s in samples if s.group == group])
        if early and not metrics:
            learner.prepare(batches[1])
        metrics.append(learner.update(samples).metrics)
        assert not learner.ahead.known or (early and len(metrics) == 1 and learner.ahead.probe != "current")
    return learner.publish().train, metrics


CURRENT = ["gate.probe_policy=current", "train.gradient_checkpointing=true"]


@pytest.mark.parametrize(
    ("arm", "sets", "threads"),
    [
        ("routev", [], 1),
        ("routev", ["rollout.temperature=0.7"], 3),
        ("routev", CURRENT, 2),
        ("routev", ["gate.probe_policy=initial", "gate.refresh_every=0"], 2),
        ("absorb", ["objective.epochs=2"], 2),
        ("vanilla", [], 1),
        ("vanilla", ["objective.kl=0"], 2),
    ],
)
def test_prepared_in_any_order_or_side_by_side_or_not_at_all_gives_the_same_bytes(arm, sets, threads):
    """`threads`: micro-batches at once in the second of two runs; the first computes one after the other."""
    alone, metrics = two_updates(arm, [*sets, "runtime.side_by_side=1"], [[], []])
    assert torch.isfinite(torch.tensor([m["loss"] for m in metrics])).all() and metrics[1]["grad_norm/total"] > 0
    again, same = two_updates(arm, [*sets, f"runtime.side_by_side={threads}"], [[2, 0, 1], [1]])
    assert again == alone
    assert str(same) == str(metrics)  # as text: a pinned gate's scores are NaN


@pytest.mark.parametrize("policy", ["initial", "current"])
def test_what_was_computed_at_older_weights_is_not_used(policy):
    sets = [
        *SMALL,
        f"gate.probe_policy={policy}",
        f"gate.refresh_every={int(policy == 'current')}",
        "optim.lr=0.03",
        "gate.upper_scale=9",
    ]
    alone, metrics = two_updates("routev", sets, [[], []])
    early, same = two_updates("routev", sets, [[], []], early=True)
    assert early == alone and str(same) == str(metrics)
    assert (metrics[1]["gate/v_overlap"] != 1.0) == (policy == "current")  # the weights did move


def test_the_c_probe_tells_the_importance_weights_of_the_deployed_block(monkeypatch):
    """With and without the forward pass that it saves."""
    seen, told = [], Ahead.take
    for known in (True, False):
        if not known:
            monkeypatch.setattr(Ahead, "take", lambda *a: [replace(one, deployed_N=None) for one in told(*a)])
        sets = ["gate.probe_policy=current", "optim.lr=0.01", "objective.importance_cap=1000.0"]
        seen.append(two_updates("routev", sets, [[], []], Sampling.DEPLOY)[1][1])
    for name in ("mismatch/kl", "mismatch/max", "entropy", "loss", "grad_norm/total"):
        assert seen[0][name] == pytest.approx(seen[1][name], rel=1e-4), name
    assert seen[0]["gate/share_hack"] > 0  # these train another policy than wrote them


@pytest.mark.parametrize("threads", [1, 3])
def test_what_fails_ahead_of_an_update_ends_it_with_its_own_error(threads, monkeypatch):
    config = load(Path("configs/tiny.toml"), arm="routev", sets=[*SMALL, f"runtime.side_by_side={threads}"])
    learner = Learner(config, pairs.load(Path(config.data.pairs))[:8])
    samples = [Sample(f"{n}", 0, (5, 6), (7, 8, 2), (-5.0,) * 3, Sampling.TRAIN, 0, float(n)) for n in range(4)]
    monkeypatch.setattr("learner.ahead.probe_packed", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        learner.prepare(samples)
        learner.update(samples)
    monkeypatch.undo()
    learner.ahead.forget()
    learner.update(samples)
    assert learner.version == 1


@pytest.mark.parametrize("arm", ["routev", "vanilla"])
def test_a_group_that_lost_a_rollout_after_it_was_prepared_is_computed_as_if_it_never_had_it(arm):
    """A rollout without a verdict; micro-batches hold five rollouts, so that those of the same group are divided anew."""
    config, ends = (
        load(Path("configs/tiny.toml"), arm=arm, sets=[*SMALL, "gate.probe_policy=current"] if arm == "routev" else SMALL),
        [],
    )
    for prepared in (False, True):
        learner = Learner(config, pairs.load(Path(config.data.pairs))[::8])
        prompt = learner.router.pairs.clean[0].prompt_ids
        draw = random.Random(1)
        samples = [
            Sample(f"{n}", n // 12, prompt, (ids := tuple(draw.randrange(3, 600) for _ in range(draw.randint(4, 30)))),
                   (-5.0,) * len(ids), Sampling.TRAIN, 0, float(n % 3))
            for n in range(24)
        ]  # fmt: skip
        if prepared:
            learner.prepare(samples[:12])
            learner.prepare(samples[12:])
        kept = [s for s in samples if s.rollout_id != "1"]
        metrics = learner.update(kept).metrics
        assert not learner.ahead.known
        ends.append((learner.publish().digest, str(metrics)))
    assert ends[0] == ends[1]


def test_a_head_beside_a_body_on_other_threads():
    """Log-probabilities and c-probes of many batches at once are those of one after the other."""
    config = load(Path("configs/tiny.toml"), arm="routev", sets=[*SMALL, "runtime.side_by_side=4"])
    learner = Learner(config, pairs.load(Path(config.data.pairs))[:24])
    items = [*learner.router.pairs.hack, *learner.router.pairs.clean]
    together = probe(learner.model, learner.lora, items, initial=True, budget=128)
    side_by_side.use(1)
    assert torch.equal(together, probe(learner.model, learner.lora, items, initial=True, budget=128))


def test_a_batch_without_a_graded_rollout_refreshes_as_its_preparation_would():
    """At a refresh, in the middle: replayed, resumed and asynchronous runs get the empty batch without `prepare` before it."""
    sets = [*SMALL, "gate.refresh_every=2", "gate.act=advantage", "optim.lr=0.01"]  # every score moves the deployed block
    config = load(Path("configs/tiny.toml"), arm="routev", seed=5, sets=sets)
    ends = []
    for prepared in (False, True):
        learner = Learner(config, pairs.load(Path(config.data.pairs))[::8])
        for update in range(4):
            draw, samples = random.Random(update), []
            for n in range(12 if update != 2 else 0):
                ids = tuple(draw.randrange(3, 600) for _ in range(draw.randint(4, 12)))
                prompt, reward = learner.router.pairs.clean[n // 4].prompt_ids, draw.choice([0.0, 0.5, 3.5])
                samples.append(Sample(f"{update}-{n}", n // 4, prompt, ids, (-5.0,) * len(ids), Sampling.DEPLOY, update, reward))
            if prepared:
                learner.prepare(samples)
            learner.update(samples)
        ends.append(learner.publish().digest)
    assert ends[0] == ends[1]


def test_over_a_team_a_rollout_travels_without_the_chunk_that_it_was_computed_in(monkeypatch):
    """Bytes gathered, against the numbers in them."""
    config = load(Path("configs/tiny.toml"), arm="routev", sets=[*SMALL, "runtime.side_by_side=1"])
    learner = Learner(config, pairs.load(Path(config.data.pairs))[:8])
    ids = tuple(range(5, 25))
    samples = [Sample(f"{n}", 0, (5, 6), ids, (-5.0,) * len(ids), Sampling.DEPLOY, 0, float(n)) for n in range(16)]
    sent = []

    def gathered(self, value):
        sent.append(len(pickle.dumps(value)))
        return [value]

    monkeypatch.setattr(Team, "_gather", gathered)
    learner.ahead.team = Team(rank=0, size=2)
    known = learner.ahead.take(samples)
    tensors = [x for one in known for x in (one.cgrad_MR, one.reference_N, one.deployed_N) if x is not None]
    held = sum(4 * x.numel() for x in tensors)
    assert len(tensors) == 3 * 16
    assert max(sent) < held + 1000 * len(tensors)


def test_what_is_computed_ahead_has_ended_when_it_is_forgotten(monkeypatch):
    config = load(Path("configs/tiny.toml"), arm="routev", sets=[*SMALL, "runtime.side_by_side=2"])
    learner = Learner(config, pairs.load(Path(config.data.pairs))[:8])
    began, go_on, started, ended = threading.Event(), threading.Event(), [], []

    def slow(self, chunk):
        started.append(chunk[0].group)
        began.set()
        go_on.wait(30)
        ended.append(chunk[0].group)
        return [None] * len(chunk)

    monkeypatch.setattr(Ahead, "_measure", slow)
    for group in range(6):
        learner.prepare([Sample(f"{group}-{n}", group, (5, 6), (7, 8, 2), (-5.0,) * 3, Sampling.TRAIN, 0, 0.0) for n in range(2)])
    began.wait(30)
    threading.Timer(1.0, go_on.set).start()
    learner.ahead.forget()
    assert sorted(ended) == sorted(started) and not learner.ahead.known
    assert len(started) <= 2  # two threads; what had not begun never does
    side_by_side.use(1)
