"""Streams of random numbers by seed and name."""

from vgrout.seeds import stream


def test_seed_streams_are_stable_and_distinct():
    assert stream(41, "order", 0) == stream(41, "order", 0)
    names = [("order", 0), ("order", 1), ("sample", 0), ("order0",)]
    assert len({stream(s, *n) for n in names for s in (1, 2)}) == 8
