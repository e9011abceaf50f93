"""Log-probabilities against the model's own full forward, for heads that do more than one product, and what lora2r refuses."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from learner import packed_attention
from learner.lora2r import Lora2r, Policy
from learner.model import collate, logprobs_GT
from learner.packing import logprobs_C, pack
from tests.learner.random_model import rollouts
from vgrout.errors import UserError

SIZES = dict(
    vocab_size=97, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1
)
KINDS = {
    "llama": {}, "qwen2": {}, "mistral": {}, "olmo2": {}, "smollm3": {"pad_token_id": 0}, "starcoder2": {},
    "gpt_neox": {},
    "gemma2": {"head_dim": 16, "final_logit_softcapping": 2.0, "pad_token_id": 0}, "gemma3_text": {"head_dim": 16},
    "granite": {"logits_scaling": 3.0}, "cohere": {"logit_scale": 0.5, "eos_token_id": 1, "bos_token_id": 2},
    "phi3": {"pad_token_id": 0},
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "head_dim": 16},
}  # fmt: skip


def random_model(kind, **more):
    torch.manual_seed(0)
    about = AutoConfig.for_model(kind, **{**SIZES, **KINDS[kind], **more})
    return AutoModelForCausalLM.from_config(about, dtype=torch.float32).eval()


@pytest.mark.parametrize("kind", KINDS)
def test_logprobs_are_those_of_the_models_own_forward(kind):
    model, batch = random_model(kind), collate(rollouts(5), "cpu")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # logits large enough that a cap or a scale is felt
        logits = model(input_ids=batch.ids_GT, use_cache=False).logits.float()
        own_GT = logits[:, :-1].log_softmax(-1).gather(2, batch.ids_GT[:, 1:, None]).squeeze(2)
        found_GT = logprobs_GT(model, batch)
    assert (found_GT[:, 1:] - own_GT)[batch.completion_GT[:, 1:]].abs().max() <= 1e-5
    assert own_GT.std() > 0.1


NARROW = {
    "gemma2": {"attn_logit_softcapping": 2.0, "sliding_window": 5}, "gemma3_text": {"sliding_window": 5},
    "mistral": {"sliding_window": 5}, "llama": {},
}  # fmt: skip


@pytest.mark.parametrize("kind", NARROW)
def test_our_attention_caps_and_slides_as_the_models_own_packed_or_padded(kind):
    model, items = random_model(kind, **NARROW[kind]), rollouts(5)
    batch, found = collate(items, "cpu"), {}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
        for name in ("eager", packed_attention.NAME):
            model.set_attn_implementation(name)
            found[name] = logprobs_GT(model, batch)[batch.completion_GT]
        found["shared"] = logprobs_C(model, pack(items, torch.device("cpu"), share=True))
    for name in (packed_attention.NAME, "shared"):
        assert (found[name] - found["eager"]).abs().max() <= 2e-5


@pytest.mark.parametrize("kind", ["gemma2", "cohere", "qwen3_moe"])
def test_gradients_reach_the_adapter_through_the_models_own_head(kind):
    model, batch = random_model(kind), collate(rollouts(5), "cpu")
    lora = Lora2r(model, ("q_proj", "o_proj"), 4, 1)
    with lora.policy(Policy.TRAIN):
        (-logprobs_GT(model, batch).sum()).backward()
    found = [p.grad.clone() for p in lora.parameters()]
    for p in lora.parameters():
        p.grad = None
    with lora.policy(Policy.TRAIN):
        own = model(input_ids=batch.ids_GT, use_cache=False).logits.float()[:, :-1].log_softmax(-1)
    own_GT = own.gather(2, batch.ids_GT[:, 1:, None]).squeeze(2)
    (-own_GT[batch.completion_GT[:, 1:]].sum()).backward()
    for grad, p in zip(found, lora.parameters(), strict=True):
        torch.testing.assert_close(grad, p.grad, rtol=1e-4, atol=1e-6)


def test_a_target_that_is_not_there_is_answered_with_those_that_are():
    with pytest.raises(UserError, match=r"k_proj, q_proj.*qkv_proj"):
        Lora2r(random_model("phi3"), ("q_proj", "k_proj", "o_proj"), 4, 1)
    with pytest.raises(UserError, match=r"up_proj.*q_proj"):
        Lora2r(random_model("qwen3_moe"), ("q_proj", "up_proj"), 4, 1)


def test_a_vision_tower_is_refused():
    model = random_model("llama")
    model.vision_tower = torch.nn.ModuleDict({"q_proj": torch.nn.Linear(4, 4)})
    with pytest.raises(UserError, match=r"vision_tower\.q_proj"):
        Lora2r(model, ("q_proj",), 4, 1)
