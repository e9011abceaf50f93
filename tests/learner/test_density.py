"""Log-probabilities of truncated sampling: those of transformers' own warpers and of vLLM's, and a gradient by hand."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from learner.density import PLAIN, Density
from learner.learner import Learner
from vgrout import pairs
from vgrout.config import load
from vgrout.errors import UserError
from vgrout.records import Sample, Sampling

densities = st.builds(
    Density, st.sampled_from([0.5, 1.0, 1.7]), st.sampled_from([0, 1, 3, 11, 40]), st.sampled_from([0.1, 0.6, 0.95, 1.0])
)


@settings(max_examples=60, deadline=None)
@given(densities, st.integers(0, 1000))
def test_they_are_those_of_the_warpers_of_transformers(density, seed):
    logits_NV: Any = 3 * torch.randn(5, 23, generator=torch.Generator().manual_seed(seed))
    unread: Any = None
    warped_NV = TemperatureLogitsWarper(density.temperature)(unread, logits_NV)
    if density.top_k:
        warped_NV = TopKLogitsWarper(density.top_k)(unread, warped_NV)
    if density.top_p < 1:
        warped_NV = TopPLogitsWarper(density.top_p)(unread, warped_NV)
    expected_NV = warped_NV.log_softmax(-1)
    for token in range(23):
        ids_N = torch.full((5,), token)
        kept_N = expected_NV[:, token] > -torch.inf
        found_N = density.logprobs(logits_NV, ids_N)
        torch.testing.assert_close(found_N[kept_N], expected_NV[kept_N, token])
        assert found_N.isfinite().all()  # also of a token that was left out: the engine sampled it


def test_the_gradient_flows_through_the_kept_tokens_alone():
    logits_NV = torch.tensor([[2.0, 1.0, 0.0, -1.0]], requires_grad=True)
    Density(top_k=2).logprobs(logits_NV, torch.tensor([1])).sum().backward()
    p = torch.softmax(torch.tensor([2.0, 1.0]), -1)
    torch.testing.assert_close(logits_NV.grad, torch.tensor([[-p[0], 1 - p[1], 0.0, 0.0]]))
    assert torch.equal(PLAIN.logprobs(logits_NV, torch.tensor([1])), torch.log_softmax(logits_NV, -1)[:, 1])


@pytest.mark.parametrize("text", ["rollout.top_p=0.95", "rollout.top_k=20"])
def test_with_a_kl_term_truncated_sampling_is_refused(text):
    with pytest.raises(UserError, match=r"objective\.kl > 0") as refused:
        load("tiny", arm="routev", sets=[text])
    assert text.partition("=")[0] in refused.value.where
    assert load("tiny", arm="routev", sets=[text, "objective.kl=0"])


@pytest.mark.parametrize(
    ("sets", "field"),
    [
        (["rollout.top_p=0.95", "objective.ratio=trained"], "objective.ratio"),
        (["rollout.top_k=20", "objective.ratio=trained"], "objective.ratio"),
        (["rollout.top_p=0.95", "runtime.deterministic=true"], "runtime.deterministic"),
    ],
)
def test_what_has_no_meaning_or_no_kernel_for_truncated_sampling_is_refused(sets, field):
    with pytest.raises(UserError) as refused:
        load("tiny", arm="routev", sets=["objective.kl=0", *sets])
    assert field in refused.value.where
    for one in sets:
        assert load("tiny", arm="routev", sets=["objective.kl=0", one])


def test_tokens_that_tie_with_the_last_one_kept_are_all_kept():
    logits_NV = torch.tensor([[3.0, 1.0, 1.0, 0.0, 1.0]])
    for density in (Density(top_k=2), Density(top_p=0.75)):  # the first token holds .69, a tied one .09
        found = [density.logprobs(logits_NV, torch.tensor([token])).item() for token in (0, 1, 2, 4)]
        assert found == pytest.approx(torch.log_softmax(torch.tensor([3.0, 1.0, 1.0, 1.0]), -1).tolist())


def test_no_tensor_is_scattered_over_the_vocabulary():
    """Under deterministic CUDA that takes a slow way, and memory for a copy of every index."""

    class Seen(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            names.append(str(func))
            return func(*args, **(kwargs or {}))

    names: list[str] = []
    with Seen():
        Density(top_k=3, top_p=0.9).logprobs(torch.randn(4, 23), torch.tensor([0, 1, 2, 3]))
    assert "aten.cumsum.default" in names and not {"aten.scatter.src", "aten.scatter_.src"} & set(names)


@pytest.mark.parametrize("arm", ["routev", "vanilla"])
def test_the_divergence_from_the_base_is_not_logged_where_it_is_infinite(arm):
    sets = ["objective.kl=0", "rollout.top_k=20", "lora.rank=16", "runtime.learner_threads=1"]
    sets += ["gate.probe_policy=initial", "gate.refresh_every=0"] if arm == "routev" else []
    config = load("tiny", arm=arm, sets=sets)
    learner = Learner(config, pairs.load(Path(config.data.pairs))[:8])
    samples = [Sample(f"{n}", 0, (5, 6), (7, 8, 2), (-5.0,) * 3, Sampling.DEPLOY, 0, float(n)) for n in range(4)]
    metrics = learner.update(samples).metrics
    assert math.isnan(metrics["kl/reference"]) and math.isfinite(metrics["entropy"])
