"""The canary against adapters that are not the learner's: in float32 and bfloat16, through a real vLLM engine."""

import dataclasses
import math
import os
from pathlib import Path

from actors.ray_cluster.environment import CPU_ENGINE

os.environ.update(CPU_ENGINE)

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load as read_tensors
from safetensors.torch import save

from actors.engines.adapter_check import BASE_LIMIT, AdapterRejected, Gap, check_base, check_canary, gap_between
from vgrout import pairs
from vgrout.config import load
from vgrout.files import sha256
from vgrout.records import AdapterVersion, Sampling

NUMBERS = st.floats(-20, 0)


def version(train, base=None):
    """A version with these canary values for both policies."""
    return AdapterVersion(3, b"", b"", 1, "", tuple(train), tuple(train), tuple(base or train))


@given(st.lists(NUMBERS, min_size=1, max_size=300), st.floats(-0.05, 0.05), st.data())
def test_a_constant_shift_is_judged_by_its_size(values, shift, data):
    found = [v + shift for v in values]
    gap = gap_between(tuple(found), tuple(values))
    assert gap.mean == pytest.approx(abs(shift), abs=1e-9) and gap.high == pytest.approx(abs(shift), abs=1e-9)
    tolerance = data.draw(st.floats(1e-4, 0.1))
    if abs(shift) > tolerance + 1e-9:
        with pytest.raises(AdapterRejected, match="canary off"):
            check_canary(version(values), Sampling.TRAIN, tuple(found), Gap(0, 0), tolerance)
    elif abs(shift) < tolerance - 1e-9:
        assert check_canary(version(values), Sampling.DEPLOY, tuple(found), Gap(0, 0), tolerance) == gap.mean


def test_one_wild_token_passes_and_many_do_not():
    """bfloat16 is off by half a nat somewhere in every text: one token of 100 says nothing, seven do."""
    values, base = [-1.0] * 100, Gap(0.04, 0.13)
    for wild, refused in ((1, False), (4, False), (7, True)):  # 5 is the edge of a 95% quantile
        found = tuple(-1.6 if i < wild else -1.03 for i in range(100))
        if refused:
            with pytest.raises(AdapterRejected, match="95% of tokens"):
                check_canary(version(values), Sampling.TRAIN, found, base, 1e-3)
        else:
            check_canary(version(values), Sampling.TRAIN, found, base, 1e-3)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused(bad):
    with pytest.raises(AdapterRejected):
        check_canary(version([-1.0] * 99), Sampling.TRAIN, (bad, *[-1.0] * 98), Gap(0.04, 0.13), 1.0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_another_base_is_refused_whatever_the_adapter(dtype):
    limit = BASE_LIMIT[dtype]
    values = [-1.0] * 50
    assert check_base(version(values), tuple(v + limit.mean * 0.9 for v in values), dtype).mean > 0
    with pytest.raises(AdapterRejected, match="without an adapter"):
        check_base(version(values), tuple(v + limit.mean * 1.1 for v in values), dtype)


KEPT = []
SETS = ["runtime.backend=local", "runtime.learner_threads=1", "runtime.kv_cache_mib=64", "lora.rank=32"]
STEP = {"float32": 1e-4, "bfloat16": 1e-2}  # of every entry of A and B, up or down: Adam's way at this sum of learning rates


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def made(request):
    """(engine, learner, published versions): the base, then two steps of STEP."""
    from actors.engines.vllm import VllmEngine
    from learner.learner import Learner

    dtype = request.param
    config = load(Path("configs/tiny.toml"), arm="routev", seed=3, sets=[*SETS, f"model.dtype={dtype}"])
    learner = Learner(config, pairs.load(Path(config.data.pairs)))
    engine = VllmEngine(config, learner.canary_ids())
    generator, versions = torch.Generator().manual_seed(5), [learner.publish()]
    for _ in range(2):
        with torch.no_grad():
            for p in learner.lora.parameters():
                p.add_(STEP[dtype] * torch.randn(p.shape, generator=generator).sign())
        learner.version += 1
        versions.append(learner.publish())
    KEPT.append(engine)  # vLLM's end takes the process-wide state of the other engines of this session with it
    yield engine, learner, versions
    engine.close()


def with_bytes(version, train, deploy):
    """Other bytes under a version's canary, signed: what an engine computes with that lost or mixed up what it was given."""
    return dataclasses.replace(version, train=train, deploy=deploy, digest=sha256(train + deploy))


def half(data):
    """The second half of the modules did not arrive."""
    tensors = read_tensors(data)
    names = sorted({name.rsplit(".lora_", 1)[0] for name in tensors})
    lost = set(names[len(names) // 2 :])
    return save({n: torch.zeros_like(t) if n.rsplit(".lora_", 1)[0] in lost else t for n, t in tensors.items()}, {"format": "pt"})


def cancelled(learner, blocks):
    """`BA - B0 A0` as `[B | B0] [A ; -A0]` in bfloat16, the form that this project does not use."""
    tensors, k = {}, slice(0, blocks * learner.lora.rank)
    for name, f in learner.lora.factors().items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = torch.cat([f.a_SI[k], -f.a0_SI[k]]).bfloat16().contiguous()
        tensors[f"base_model.model.{name}.lora_B.weight"] = torch.cat([f.b_OS[:, k], f.b0_OS[:, k]], 1).bfloat16().contiguous()
    return save(tensors, {"format": "pt"})


@pytest.mark.engine
def test_right_versions_pass_and_wrong_ones_do_not(made, capsys):
    engine, learner, (zero, one, two) = made
    gaps = [engine.load(v) for v in (zero, one, two)]
    swapped = dataclasses.replace(two, canary_train=two.canary_deploy, canary_deploy=two.canary_train)
    wrong = {
        "nothing loaded": with_bytes(two, zero.train, zero.deploy),
        "stale": with_bytes(two, one.train, one.deploy),
        "half loaded": with_bytes(two, half(two.train), half(two.deploy)),
        "cancelled in bfloat16": with_bytes(two, cancelled(learner, 2), cancelled(learner, 1)),
        "blocks mixed up": swapped,
    }
    if learner.config.model.dtype == "bfloat16":
        # There the engine's own rounding is as coarse: what cancels cannot be told from a right adapter (1.2 times the base's gap
        # against 1.2 at most). It is refused where the engine can see it, in float32.
        engine.load(wrong.pop("cancelled in bfloat16"))
        engine.load(two)
    said = []
    for name, bad in wrong.items():
        with pytest.raises(AdapterRejected, match="canary off") as refused:
            pytest.fail(f"{name}: served at a gap of {engine.load(bad):.2e}; base {engine.base_gap}, right versions {gaps}")
        said.append(f"  {name}: {refused.value}")
    with capsys.disabled():
        print(f"\n{learner.config.model.dtype}: base {engine.base_gap}; right versions {gaps}", *said, sep="\n")
    assert engine.served.digest == two.digest
