"""Whole files, JSON Lines errors, prompt order, rates, seeds."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgrout.errors import UserError
from vgrout.files import read_jsonl, write_whole
from vgrout.problem_order import problem_at, split_validation
from vgrout.rates import by_mode, to_json
from vgrout.records import Audit, Mode, Status
from vgrout.seeds import stream


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "a.json"
    write_whole(path, "old")
    with pytest.raises(TypeError):
        write_whole(path, 5)  # pyright: ignore[reportArgumentType]
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(("line", "said"), [(b"{", "invalid JSON"), (b"[1]", "a JSON list"), (b'{"a": "\xff"}', "not UTF-8")])
def test_jsonl_errors_name_file_and_line(tmp_path, line, said):
    path = tmp_path / "p.jsonl"
    path.write_bytes(b'{"id": 1}\n\n' + line + b"\n")
    with pytest.raises(UserError) as caught:
        list(read_jsonl(path))
    assert f"{path}:3" in str(caught.value) and said in str(caught.value)


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


def audit(mode, **truth):
    base = {"compiles": True, "correct": False, "channel": False, "exploited": False, "status": Status.WRONG}
    return Audit("r", 1, mode, mechanism="", jail="L2", ms=1.0, **(base | truth))


def test_rates_by_hand_and_infra_errors_in_no_rate():
    audits = [
        audit(Mode.SENTINEL, exploited=True, channel=True),
        audit(Mode.SENTINEL, correct=True, status=Status.PASS),
        audit(Mode.SENTINEL, status=Status.INFRA_ERROR),
        audit(Mode.RUN_TESTS),
    ]
    table = by_mode(audits)
    assert (table["all"].n, table["all"].hack, table["all"].solve, table["all"].infra_error) == (3, 1, 1, 1)
    assert table["sentinel"].rate("hack") == 0.5
    assert table["sentinel"].sem("hack") == pytest.approx((0.25 / 2) ** 0.5)
    assert json.loads(json.dumps(to_json(table)))["run_tests"]["n"] == 1


def test_seed_streams_are_stable_and_distinct():
    assert stream(41, "order", 0) == stream(41, "order", 0)
    names = [("order", 0), ("order", 1), ("sample", 0), ("order0",)]
    assert len({stream(s, *n) for n in names for s in (1, 2)}) == 8


def test_contracts_import_no_torch_ray_or_vllm():
    code = "import sys, vgrout_cli.main; print([m for m in ('torch', 'ray', 'vllm', 'transformers') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
