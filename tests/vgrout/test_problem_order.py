"""The order of problems, and the validation slice."""

from hypothesis import given
from hypothesis import strategies as st

from vgrout.problem_order import problem_at, split_validation


@given(st.sets(st.integers(0, 10_000), min_size=1, max_size=40), st.integers(0, 2**40), st.integers(1, 4))
def test_every_epoch_draws_every_id_once(ids, seed, epochs):
    drawn = [problem_at(sorted(ids), o, seed) for o in range(len(ids) * epochs)]
    for epoch in range(epochs):
        assert sorted(drawn[epoch * len(ids) : (epoch + 1) * len(ids)]) == sorted(ids)


def test_order_depends_on_the_seed_and_not_on_the_order_of_the_file():
    ids = list(range(50))
    first = [problem_at(ids, o, 1) for o in range(50)]
    assert first != ids and first == [problem_at(ids[::-1], o, 1) for o in range(50)]
    assert first != [problem_at(ids, o, 2) for o in range(50)]


@given(st.sets(st.integers(), min_size=2, max_size=60), st.integers(0, 100), st.data())
def test_validation_slice_is_disjoint_and_complete(ids, seed, data):
    count = data.draw(st.integers(0, len(ids)))
    train, validation = split_validation(list(ids), count, seed)
    assert len(validation) == count and sorted(train + validation) == sorted(ids)
