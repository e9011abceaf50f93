"""Reading cached teacher rollouts: what is taken, and one message per fault."""

import json

import pytest

from vgrout.config import load as load_config
from vgrout.errors import UserError
from vgrout.records import Mode
from vgrout.teacher_file import load

GOOD = {"problem_id": 4, "completion": "x", "reward": 3.5}


def write(tmp_path, *rows):
    path = tmp_path / "teacher.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def test_rows_in_order_and_other_fields_ignored(tmp_path):
    rows = load(write(tmp_path, GOOD, GOOD | {"mode": "sentinel", "reward": 0, "hacked": True}))
    assert [(r.problem_id, r.mode, r.reward) for r in rows] == [(4, None, 3.5), (4, Mode.SENTINEL, 0.0)]


def test_a_reward_counts_where_its_flaw_is_shown(tmp_path):
    unsaid, said = load(write(tmp_path, GOOD, GOOD | {"mode": "sentinel"}))
    assert unsaid.fits(Mode.RUN_TESTS, Mode.RUN_TESTS) and not unsaid.fits(Mode.GT_ONLY, Mode.RUN_TESTS)
    assert said.fits(Mode.SENTINEL, Mode.SENTINEL) and not said.fits(Mode.RUN_TESTS, Mode.RUN_TESTS)
    solved = load(write(tmp_path, GOOD | {"mode": "gt_only"}))[0]
    assert solved.fits(Mode.GT_ONLY, Mode.RUN_TESTS) and not solved.fits(Mode.RUN_TESTS, Mode.RUN_TESTS)


FAULTS = [
    ({"problem_id": "4"}, "problem_id"), ({"problem_id": True}, "problem_id"), ({"completion": ""}, "completion"),
    ({"completion": None}, "completion"), ({"reward": "3"}, "reward"), ({"reward": True}, "reward"),
    ({"reward": None}, "reward"), ({"mode": "sentinels"}, "mode"),
]  # fmt: skip


def test_a_reward_that_is_not_finite_is_no_json(tmp_path):
    with pytest.raises(UserError, match=r"teacher\.jsonl:2: found NaN"):
        load(write(tmp_path, GOOD, GOOD | {"reward": float("nan")}))
    path = write(tmp_path, GOOD)
    path.write_text(path.read_text().replace("3.5", "1e999"))
    with pytest.raises(UserError, match="field reward"):
        load(path)


@pytest.mark.parametrize(("change", "field"), FAULTS)
def test_faults_name_line_and_field(tmp_path, change, field):
    with pytest.raises(UserError, match=rf"teacher\.jsonl:2, field {field}"):
        load(write(tmp_path, GOOD, GOOD | change))


def test_an_empty_or_missing_file(tmp_path):
    with pytest.raises(UserError, match="empty"):
        load(write(tmp_path))
    with pytest.raises(UserError, match="no such file"):
        load(tmp_path / "none.jsonl")


@pytest.mark.parametrize(
    ("sets", "where"),
    [
        (["teacher.path=./t.jsonl"], "teacher.until"),
        (["teacher.until=3"], "teacher.until"),
        (["teacher.path=./t.jsonl", "teacher.until=3", "teacher.per_prompt=8"], "teacher.per_prompt"),
        (["rollout.hint_free_share=1.5"], "rollout.hint_free_share"),
    ],
)
def test_settings_that_do_not_fit(sets, where):
    from pathlib import Path

    with pytest.raises(UserError, match=where):
        load_config(Path("configs/tiny.toml"), sets=sets)
