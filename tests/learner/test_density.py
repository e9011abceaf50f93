"""Log-probabilities of truncated sampling: those of transformers' own warpers and of vLLM's, and a gradient by hand."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from learner.density import PLAIN, Density
from vgrout.config import load
from vgrout.errors import UserError

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
