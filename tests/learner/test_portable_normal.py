"""The adapter's initial values are the same bits whatever vector unit the CPU has, and those that torch draws with AVX2."""

import os
import subprocess
import sys

import pytest
import torch

from learner.portable_normal import normal, torch_agrees, transformed

DIGEST = """
from vgrout.files import sha256
from learner.lora2r import initial_factors
drawn = initial_factors("model.layers.0.self_attn.q_proj", 37, 64, 3, 7)
print(sha256(*(t.numpy().tobytes() for t in drawn)))
"""
RECORDED = "11356719a96f2b31c0d161e952e223db5c060c550b825d709242c732c0e6a13c"  # by torch 2.13.0's own function, AVX2


def test_other_vector_units_draw_the_recorded_values():
    for unit in ("default", "avx2"):
        environment = {**os.environ, "ATEN_CPU_CAPABILITY": unit}
        found = subprocess.run([sys.executable, "-c", DIGEST], env=environment, capture_output=True, text=True, check=True)
        assert found.stdout.strip() == RECORDED, unit


@pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"), reason="torch computes otherwise here")
def test_a_million_numbers_are_those_of_torch():
    assert torch_agrees()
    shape = (2**10, 2**10)
    theirs = torch.randn(shape, generator=torch.Generator().manual_seed(5))
    ours = transformed(torch.rand(2**20, generator=torch.Generator().manual_seed(5)).numpy())
    assert torch.equal(torch.from_numpy(ours).reshape(shape), theirs)
    assert torch.equal(normal(shape, torch.Generator().manual_seed(5)), theirs)
