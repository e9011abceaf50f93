"""Schedule values by hand, decay towards (A0, B0), and clipping."""

import pytest
import torch

from learner.optimizer import Optimizer, learning_rate
from vgrout.config import OptimConfig


def test_schedule_by_hand():
    config = OptimConfig(lr=1.0, warmup=4)
    got = [learning_rate(config, step, 12) for step in range(12)]
    assert got[:4] == [0.25, 0.5, 0.75, 1.0]
    assert got[4] == 1.0 and got[8] == pytest.approx(0.5)
    assert got[4:] == sorted(got[4:], reverse=True) and got[-1] > 0


def test_decay_pulls_towards_the_initial_factors_and_not_to_zero(trained):
    _, lora = trained
    optimizer = Optimizer(lora, OptimConfig(lr=1.0, weight_decay=0.25))
    module = next(iter(lora.modules.values()))
    before = module.a_SI.detach().clone()
    for p in lora.parameters():
        p.grad = torch.full_like(p, 1e-15)  # a gradient of zero would change nothing, decay included
    optimizer.step(lr=1.0)
    torch.testing.assert_close(module.a_SI.detach() - module.a0_SI, 0.75 * (before - module.a0_SI))


def test_step_reports_the_norm_before_clipping_and_clears_gradients(trained):
    _, lora = trained
    optimizer = Optimizer(lora, OptimConfig(grad_clip=1.0))
    for p in lora.parameters():
        p.grad = torch.ones_like(p)
    count = sum(p.numel() for p in lora.parameters())
    assert optimizer.step(lr=0.0).grad_norm == pytest.approx(count**0.5, rel=1e-5)
    assert all(p.grad is None for p in lora.parameters())


def test_a_block_that_never_gets_a_gradient_never_moves(trained):
    _, lora = trained
    optimizer = Optimizer(lora, OptimConfig(lr=0.1))
    r, before = lora.rank, [p.detach().clone() for p in lora.parameters()]
    for _ in range(3):
        for m in lora.modules.values():
            m.a_SI.grad, m.b_OS.grad = torch.zeros_like(m.a_SI), torch.zeros_like(m.b_OS)
            m.a_SI.grad[:r], m.b_OS.grad[:, :r] = 1.0, 1.0
        optimizer.step(lr=0.1)
    for m, a, b in zip(lora.modules.values(), before[::2], before[1::2], strict=True):
        assert torch.equal(m.a_SI[r:], a[r:]) and torch.equal(m.b_OS[:, r:], b[:, r:])
        assert not torch.equal(m.a_SI[:r], a[:r])


def test_a_gradient_of_zero_moves_nothing_though_there_is_momentum_and_decay(trained):
    _, lora = trained
    optimizer = Optimizer(lora, OptimConfig(lr=0.1, weight_decay=0.5))
    for fill in (1.0, 0.0):
        before = [p.detach().clone() for p in lora.parameters()]
        for p in lora.parameters():
            p.grad = torch.full_like(p, fill)
        optimizer.step(lr=0.1)
        same = [torch.equal(p, was) for p, was in zip(lora.parameters(), before, strict=True)]
        assert all(same) if fill == 0 else not any(same)


def test_each_block_is_clipped_by_itself(trained):
    """A quarantine with a hundred times the gradient does not shrink the deployed block's step."""
    _, lora = trained
    optimizer, r = Optimizer(lora, OptimConfig(grad_clip=1.0, clip_by="block")), lora.rank
    for m in lora.modules.values():
        m.a_SI.grad, m.b_OS.grad = torch.full_like(m.a_SI, 100.0), torch.full_like(m.b_OS, 100.0)
        m.a_SI.grad[:r], m.b_OS.grad[:, :r] = 1e-4, 1e-4
    norm = sum(p.grad.square().sum() for p in lora.parameters()).sqrt().item()
    assert optimizer._clip() == pytest.approx(norm, rel=1e-5)
    deployed = [part for m in lora.modules.values() for part in (m.a_SI.grad[:r], m.b_OS.grad[:, :r])]
    quarantine = [part for m in lora.modules.values() for part in (m.a_SI.grad[r:], m.b_OS.grad[:, r:])]
    assert all(torch.equal(part, torch.full_like(part, 1e-4)) for part in deployed)
    assert sum(part.square().sum() for part in quarantine).sqrt().item() == pytest.approx(1.0, rel=1e-4)
