"""The patched LoRA op of vLLM's CPU worker, inside vLLM's own layer, against the formula."""

from types import SimpleNamespace

import pytest
import torch

pytestmark = pytest.mark.engine
INPUTS, WIDTHS, SLOTS = 24, (16, 8), 3


@pytest.fixture
def layer():
    """vLLM's own reset_lora on a layer with two output slices, without the model around it."""
    from vllm.lora.layers.base_linear import BaseLinearLayerWithLoRA

    from actors.engines.vllm_cpu_lora_patch import install

    install()

    def make(rank: int) -> SimpleNamespace:
        a = tuple(torch.zeros(SLOTS, 1, rank, INPUTS) for _ in WIDTHS)
        b = tuple(torch.zeros(SLOTS, 1, width, rank) for width in WIDTHS)
        fake = SimpleNamespace(lora_a_stacked=a, lora_b_stacked=b, n_slices=2)

        def write(slot: int) -> None:
            BaseLinearLayerWithLoRA.reset_lora(fake, slot)  # pyright: ignore[reportArgumentType]
            for t in (*a, *b):
                t[slot].normal_()

        fake.write = write
        return fake

    return make


@pytest.mark.parametrize("rank", [2, 32])
@pytest.mark.parametrize("slots", [[1] * 6, [-1] * 6, [2, 0, -1, 0, 2, 2]])
def test_the_op_adds_each_tokens_own_adapter_and_forgets_what_a_slot_held_before(layer, rank, slots):
    from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

    torch.manual_seed(rank)
    module, x = layer(rank), torch.randn(len(slots), INPUTS)
    wrapper = SimpleNamespace(token_lora_indices=torch.tensor(slots), vgrout_rows={})
    for _ in range(2):  # the second time every slot holds another adapter
        for slot in range(SLOTS):
            module.write(slot)
        y = torch.randn(len(slots), sum(WIDTHS))
        expected = y.clone()
        for n, slot in enumerate(slots):
            if slot >= 0:
                pairs = zip(module.lora_a_stacked, module.lora_b_stacked, strict=True)
                expected[n] += torch.cat([b[slot, 0] @ (a[slot, 0] @ x[n]) for a, b in pairs])
        PunicaWrapperCPU.add_lora_linear(wrapper, y, x, module.lora_a_stacked, module.lora_b_stacked, 1.0, WIDTHS)  # type: ignore[arg-type]
        assert torch.allclose(y, expected, atol=1e-4)
