"""World sizes 1, 2 and 4 give the same update, over real gloo processes; rank 0's word is every rank's.

Tolerance: sums of float32 gradients in another order. Gradient norms agree to 1e-5 relative, and after two AdamW steps
the adapter's move from its start to 1e-4 of its norm (AdamW divides by |g|, so noise in near-zero gradients shows there).
"""

import random
import socket
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp

from vgrout import pairs
from vgrout.config import load
from vgrout.records import Sample, Sampling

ROOT = Path(__file__).parents[2]
SMALL = ["runtime.learner_threads=1", "train.micro_tokens=512", "optim.warmup=1", "rollout.max_new_tokens=64", "lora.rank=16"]


def samples(authored, seed):
    """Real text with made-up rewards: authored sides as rollouts of groups of four."""
    draw, made = random.Random(seed), []
    for n in range(14):
        side = (authored.hack if n % 3 == 0 else authored.clean)[n % len(authored.hack)]
        ids = side.completion_ids[: draw.randint(4, len(side.completion_ids))]
        logprobs = tuple(-draw.random() for _ in ids)
        made.append(
            Sample(f"{n // 4}-{n % 4}", n // 4, side.prompt_ids, ids, logprobs, Sampling.TRAIN, 0, draw.choice([0.0, 0.5, 3.5]))
        )
    return made


def work(rank, size, address, arm, sets, folder):
    from learner.learner import Learner

    torch.manual_seed(0)
    config = load(ROOT / "configs/tiny.toml", arm=arm, seed=5, sets=[*SMALL, *sets])
    learner = Learner(config, pairs.load(Path(config.data.pairs)))
    if size > 1:
        learner.join(rank, size, address)
    results = [learner.update(samples(learner.router.pairs, seed)) for seed in (1, 2)]
    v = learner.router.refresh.v_DMR if learner.router.refresh else None
    moved = [(f.a_SI - f.a0_SI, f.b_OS - f.b0_OS) for f in learner.lora.factors().values()]
    torch.save(
        {"metrics": [r.metrics for r in results], "gated": [r.gated for r in results], "v": v, "moved": moved},
        folder / f"{rank}.pt",
    )


def run(size, arm, sets, folder):
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    mp.spawn(work, args=(size, address, arm, sets, folder), nprocs=size)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(size)]


def flat(result):
    return torch.cat([t.flatten() for pair in result["moved"] for t in pair])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arm", "sets"),
    [
        ("vanilla", []),
        ("routev", ["gate.probe_policy=current", "gate.refresh_every=1", "objective.kl=0.01", "objective.epochs=2"]),
    ],
)
def test_one_two_and_four_learners_give_the_same_update(arm, sets, tmp_path):
    (alone,) = run(1, arm, sets, tmp_path / "1")
    for size in (2, 4):
        ranks = run(size, arm, sets, tmp_path / str(size))
        first = ranks[0]
        for other in ranks[1:]:  # to the bit
            assert torch.equal(flat(first), flat(other))
            assert first["v"] is None or torch.equal(first["v"], other["v"])
        labels = [[(g.rollout_id, g.label, g.skipped) for g in gated] for gated in first["gated"]]
        assert labels == [[(g.rollout_id, g.label, g.skipped) for g in gated] for gated in alone["gated"]]
        for mine, theirs in zip(first["metrics"][:1], alone["metrics"][:1], strict=True):
            for name in ("grad_norm/total", "loss", "mismatch/kl", "mismatch/max", "clip_fraction", "grad_norm/quarantine_share"):
                assert mine[name] == pytest.approx(theirs[name], rel=1e-5, abs=1e-7), name
        gap = (flat(first) - flat(alone)).norm() / flat(alone).norm()
        print(f"{arm}, {size} ranks: relative gap of the adapter's move {gap:.2e}")
        assert flat(alone).norm() > 0 and gap < 1e-4


def test_every_unit_is_of_exactly_one_rank_and_ranks_work_equally_long():
    from learner.data_parallel import Team
    from learner.work import units

    samples = [Sample(f"{n}", n // 2, (1,) * 4, (2,) * (1 + n % 5), (0.0,), Sampling.TRAIN, 0, 0.0) for n in range(16)]
    work = units(samples, ["clean"] * 8 + ["hack"] * 8, budget=100)
    for size in (1, 2, 4, 16):
        parts = [Team(rank, size).mine(work) for rank in range(size)]
        assert sorted(i for part in parts for unit in part for i in unit.rows) == list(range(16))
        loads = [sum(unit.tokens for unit in part) for part in parts]
        assert max(loads) - min(loads) <= max(unit.tokens for unit in work)
