"""v_grad, cross-fitting and the Haar placebo."""

import torch

from learner.vgrad import PairProbe, at_unit_norm, by_tag, cross_fit, directions, folds, haar, layer_scores, score, unit, v_grad


def random_probe(tags, signal=0.0, seed=0):
    g = torch.Generator().manual_seed(seed)
    p, m, r = len(tags), 6, 16
    direction = torch.randn(m, r, generator=g)
    hack = torch.randn(p, m, r, generator=g) + signal * direction
    return PairProbe(tuple(tags), hack, torch.randn(p, m, r, generator=g))


def test_v_grad_is_the_unit_mean_difference_per_module():
    probed = random_probe(["a"] * 3)
    v = v_grad(probed.hack_PMR, probed.clean_PMR)
    for module in range(6):
        mean = sum(probed.hack_PMR[i, module] - probed.clean_PMR[i, module] for i in range(3)) / 3
        torch.testing.assert_close(v[module], mean / mean.norm())


def test_score_is_the_mean_cosine_over_modules():
    probed = random_probe(["a"] * 2)
    v = haar(1, 6, 16, seed=1)
    expected = torch.nn.functional.cosine_similarity(probed.hack_PMR, v, dim=-1).mean(-1)
    torch.testing.assert_close(score(probed.hack_PMR, v), expected)


def test_with_several_directions_the_largest_counts():
    probed = random_probe(["a"] * 5)
    v = haar(3, 6, 16, seed=1)
    alone = torch.stack([score(probed.hack_PMR, one[None]) for one in v])
    assert torch.equal(score(probed.hack_PMR, v), alone.max(0).values)


def test_a_layers_score_is_that_of_its_modules_in_the_direction_that_counts():
    probed, layers = random_probe(["a"] * 4), [0, 0, 1, 1, 1, 2]
    v = haar(2, 6, 16, seed=1)
    for form in ("cosine", "dot"):
        best = torch.stack([score(probed.hack_PMR, one[None], form) for one in v]).argmax(0).tolist()
        found = layer_scores(probed.hack_PMR, v, form, layers)
        for rollout, said in enumerate(found):
            for layer, value in enumerate(said):
                own = [m for m, of in enumerate(layers) if of == layer]
                alone = score(probed.hack_PMR[rollout : rollout + 1, own], v[best[rollout]][None, own], form)
                assert abs(value - alone.item()) < 1e-4


def test_a_dot_grows_with_the_length_of_the_c_probe_and_a_cosine_does_not():
    probed, v = random_probe(["a"] * 3), haar(1, 6, 16, seed=1)
    torch.testing.assert_close(score(3 * probed.hack_PMR, v, "dot"), 3 * score(probed.hack_PMR, v, "dot"))
    torch.testing.assert_close(score(3 * probed.hack_PMR, v), score(probed.hack_PMR, v))
    torch.testing.assert_close(score(unit(probed.hack_PMR), v, "dot"), score(probed.hack_PMR, v))


def test_at_unit_norm_a_long_c_probe_weighs_no_more_than_a_short_one():
    probed = random_probe(["a"] * 3)
    longer = PairProbe(probed.tags, probed.hack_PMR * torch.tensor([50.0, 1.0, 0.1])[:, None, None], probed.clean_PMR * 7)
    torch.testing.assert_close(directions(at_unit_norm(longer), "mean"), directions(at_unit_norm(probed), "mean"))
    assert not torch.allclose(directions(longer, "mean"), directions(probed, "mean"), atol=0.05)
    by_hand = torch.nn.functional.normalize(probed.hack_PMR, dim=-1) - torch.nn.functional.normalize(probed.clean_PMR, dim=-1)
    torch.testing.assert_close(directions(at_unit_norm(probed), "mean")[0], unit(by_hand.mean(0)))


def test_one_direction_for_each_tag_is_fitted_on_its_pairs_alone():
    probed = random_probe(["y", "x", "y"])
    assert by_tag(probed.tags) == [[1], [0, 2]]
    v = directions(probed, "max_over_tags")
    assert torch.equal(v[0], unit(probed.hack_PMR[1] - probed.clean_PMR[1]))
    assert torch.equal(v[1], v_grad(probed.hack_PMR[[0, 2]], probed.clean_PMR[[0, 2]]))
    assert torch.equal(directions(probed, "mean"), v_grad(probed.hack_PMR, probed.clean_PMR)[None])


def test_cross_fitting_over_tags_leaves_the_direction_of_the_own_tag_out():
    """A signal that one tag alone has must not show in its own cross-fitted scores."""
    g = torch.Generator().manual_seed(0)
    tags = ("x", "y") * 8
    signal = torch.zeros(16, 6, 16)
    signal[0::2] = 5 * torch.randn(6, 16, generator=g)
    probed = PairProbe(tags, torch.randn(16, 6, 16, generator=g) + signal, torch.randn(16, 6, 16, generator=g))
    inside = score(probed.hack_PMR, directions(probed, "max_over_tags"))
    outside, _ = cross_fit(probed, None, "max_over_tags")
    assert inside[0::2].mean() > 0.8
    assert abs(outside[0::2].mean()) < 0.2


def test_a_fold_is_a_tag_or_with_one_tag_a_pair():
    assert folds(("x", "y", "x", "z")) == [[0, 2], [1], [3]]
    assert folds(("x", "x", "x")) == [[0], [1], [2]]


def test_no_pair_is_scored_with_a_v_grad_fitted_on_it():
    """Moving a pair must not move the direction that scores it: its cross-fitted score follows the others' direction."""
    tags = ["x", "y", "x", "z"]
    probed = random_probe(tags)
    hack, clean = cross_fit(probed, None)
    for fold in folds(tuple(tags)):
        kept = [i for i in range(4) if i not in fold]
        v = v_grad(probed.hack_PMR[kept], probed.clean_PMR[kept])[None]
        torch.testing.assert_close(hack[fold], score(probed.hack_PMR[fold], v))
        torch.testing.assert_close(clean[fold], score(probed.clean_PMR[fold], v))


def test_cross_fitting_removes_the_inflation_on_noise():
    """On pure noise the in-sample gap is large and the cross-fitted one is about 0."""
    inside, outside = [], []
    for seed in range(20):
        probed = random_probe(["a"] * 6, seed=seed)
        v = v_grad(probed.hack_PMR, probed.clean_PMR)[None]
        inside.append((score(probed.hack_PMR, v) - score(probed.clean_PMR, v)).mean())
        hack, clean = cross_fit(probed, None)
        outside.append((hack - clean).mean())
    assert torch.stack(inside).mean() > 0.15
    assert abs(torch.stack(outside).mean()) < 0.05


def test_haar_has_v_grads_norm_no_band_and_follows_its_seed():
    v = haar(1, 28, 64, seed=3)
    torch.testing.assert_close(v.norm(dim=-1), torch.ones(1, 28))
    assert torch.equal(v, haar(1, 28, 64, seed=3))
    assert not torch.equal(v, haar(1, 28, 64, seed=4))
    assert haar(5, 28, 64, seed=3).shape == (5, 28, 64)
    g = torch.Generator().manual_seed(0)
    shift = unit(torch.randn(28, 64, generator=g)) * 4
    probed = PairProbe(("a",) * 24, torch.randn(24, 28, 64, generator=g) + shift, torch.randn(24, 28, 64, generator=g))
    hack, clean = cross_fit(probed, v)
    assert abs((hack - clean).mean()) < 0.05
    hack, clean = cross_fit(probed, None)
    assert (hack - clean).mean() > 0.3
