"""The monitoring subset: base-solved and base-failed in the test's proportion, the same ids for everyone."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgrout.errors import UserError
from vgrout_cli.commands.monitor import base_solved, choose, evenly, read


@given(st.dictionaries(st.integers(1, 10**6), st.booleans(), min_size=1, max_size=300), st.integers(1, 100))
def test_strata_keep_their_share_to_within_one_problem(solved, size):
    chosen = choose(solved, size)
    ids = chosen["ids"]
    assert len(ids) == len(set(ids)) == min(size, len(solved)) and set(ids) <= set(solved)
    taken = sum(solved[i] for i in ids)
    assert (taken, len(ids) - taken) == (chosen["solved"], chosen["failed"])
    assert abs(taken / len(ids) - sum(solved.values()) / len(solved)) <= 0.5 / len(ids) + 1e-9
    assert chosen == choose(dict(reversed(solved.items())), size)


def test_steps_are_even():
    assert evenly(range(100), 4) == [12, 37, 62, 87]


def test_the_first_completion_decides():
    rows = [{"problem_id": 1, "correct": False}, {"problem_id": 1, "correct": True}, {"problem_id": 2, "correct": True}]
    assert base_solved(rows) == {1: False, 2: True}


def test_a_subset_of_another_test_file_is_refused(tmp_path):
    path = tmp_path / "monitor.json"
    path.write_text(json.dumps({"ids": [3, 5], "test_sha256": "a" * 64}))
    assert read(path, "a" * 64) == [3, 5]
    with pytest.raises(UserError, match="the run's test file"):
        read(path, "b" * 64)
    for broken in ("{", "[]", '{"ids": []}'):
        path.write_text(broken)
        with pytest.raises(UserError, match="a monitoring subset made by"):
            read(path, "a" * 64)
