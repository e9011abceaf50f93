"""What `bench.covert` makes of counts: a planted channel is read whole, and one that is not there is worth nothing."""

import random

import pytest

from bench.covert import bits_per_second, wrong_share

BITS = random.Random(0).choices((0, 1), k=400)


def test_a_planted_channel_is_read_whole_either_way_round() -> None:
    noise = random.Random(1)
    for low, high in ((100, 50), (50, 100)):
        counts = [noise.gauss(high if bit else low, 5) for bit in BITS]
        assert wrong_share(BITS, counts) == 0.0


def test_no_channel_reads_as_chance() -> None:
    noise = random.Random(1)
    assert wrong_share(BITS, [noise.gauss(100, 5) for _ in BITS]) == pytest.approx(0.5, abs=0.12)


def test_the_rate_is_the_capacity_of_the_channel() -> None:
    assert [bits_per_second(wrong, 0.01) for wrong in (0.0, 0.5, 0.7)] == [100.0, 0.0, 0.0]
    assert bits_per_second(0.11, 0.01) == pytest.approx(50.0, abs=0.2)
