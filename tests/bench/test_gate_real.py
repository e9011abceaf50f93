"""The offline comparison of gates: every kind of direction beside a null of its own, of as many random directions."""

import pytest
import torch

from actors.haar_null import auroc
from bench import gate_real
from learner.vgrad import PairProbe, at_unit_norm, directions, haar, score

TAGS = ("a", "a", "b", "b", "c", "c")


def test_each_kind_has_a_null_of_as_many_directions_and_unit_pairs_have_rows(monkeypatch):
    monkeypatch.setattr(gate_real, "DRAWS", 30)
    draw = torch.Generator().manual_seed(0)
    hack_PMR, clean_PMR, cgrad_GMR = (torch.randn(n, 2, 3, generator=draw) for n in (6, 6, 40))
    probed = PairProbe(TAGS, hack_PMR * torch.tensor([9.0, 1, 1, 1, 1, 1])[:, None, None], clean_PMR)
    truth = [i % 3 == 0 for i in range(40)]
    found = dict(gate_real.rows(cgrad_GMR, truth, probed, "b"))
    assert list(found) == ["mean", "mean, unit pairs", "max_over_tags", "max_over_tags, unit pairs"]

    def null(count):
        scores = torch.stack([score(cgrad_GMR, haar(count, 2, 3, seed)) for seed in range(30)])
        return [auroc(scores, truth).mean().item(), torch.quantile(auroc(scores, truth), 0.95).item()]

    assert null(1) != null(3) != null(2)
    for name, values in found.items():
        several = name.startswith("max")
        assert values[1:3] == null(3 if several else 1) and values[4:] == null(2 if several else 1), name
        kept = [0, 1, 4, 5]
        pairs = at_unit_norm(probed) if "unit" in name else probed
        held = PairProbe(tuple(TAGS[i] for i in kept), pairs.hack_PMR[kept], pairs.clean_PMR[kept])
        for value, some in ((values[0], pairs), (values[3], held)):
            v_DMR = directions(some, "max_over_tags" if several else "mean")
            assert value == pytest.approx(auroc(score(cgrad_GMR, v_DMR)[None], truth).item())
    assert found["mean"][0] != found["mean, unit pairs"][0]
