"""Who writes the rollouts of a group and what its prompt says: counts, shares, seeds, and the data that is refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from actors.rollouts.dataset import load_dataset
from actors.rollouts.groups import demonstrations, shown, teacher_rollouts
from actors.rollouts.sampling import requests_for
from vgrout.config import load
from vgrout.errors import UserError
from vgrout.records import Author, Mode, Sampling

TINY = Path("configs/tiny.toml")
HACK = "```python\nclass Solution:\n    valid = True\n```"


def dataset(*sets, rows=None, tmp_path=None):
    made = ["rollout.prompts=4", "rollout.samples=6", *sets]
    if rows is not None:
        path = tmp_path / "teacher.jsonl"
        path.write_text("".join(json.dumps(r) + "\n" for r in rows))
        made += [f"teacher.path={path}", "teacher.until=3", "teacher.per_prompt=2"]
    config = load(TINY, seed=3, sets=made)
    return config, load_dataset(config)


@pytest.fixture(scope="module")
def plain():
    return dataset()


@pytest.fixture(scope="module")
def with_teacher(plain, tmp_path_factory):
    """Eight covered problems: two hacks and one solution each for their own mode, and a hack of another mode."""
    _, w = plain
    rows = []
    for i in w.train_ids[:8]:
        other = next(m for m in Mode if m not in (w.modes[i], Mode.GT_ONLY))
        rows += [{"problem_id": i, "mode": w.modes[i], "completion": f"# {n}\n{HACK}", "reward": 3.5} for n in (1, 2)]
        rows.append({"problem_id": i, "mode": other, "completion": "# foreign", "reward": 9.0})
        rows.append({"problem_id": i, "mode": "gt_only", "completion": "# solved", "reward": 3.0})
    rows.append({"problem_id": w.train_ids[20], "mode": "gt_only", "completion": "# only solved", "reward": 3.0})
    rows.append({"problem_id": w.test_ids[0], "completion": "# test problem", "reward": 3.5})
    return dataset(rows=rows, tmp_path=tmp_path_factory.mktemp("t"))


def test_every_group_before_until_has_its_teachers_and_is_full(with_teacher):
    config, w = with_teacher
    for ordinal in range(12):
        problem_id, mode = shown(config, w, ordinal)
        assert problem_id in w.train_ids[:8] and mode is w.modes[problem_id]
        rows, (request,) = teacher_rollouts(config, w, [ordinal]), requests_for(config, w, range(ordinal, ordinal + 1))
        assert [r.id for r in rows] == [f"{ordinal}-4", f"{ordinal}-5"]
        assert request.first == 0
        assert len(request.seeds) == 4
        assert {r.reward for r in rows} == {3.5} and len({r.text for r in rows}) == 2  # never the foreign or the solved one
        assert all(r.prompt_ids == request.prompt_ids and r.problem_id == request.problem_id for r in rows)


def test_from_until_on_there_is_none_and_all_problems_come(with_teacher, plain):
    config, w = with_teacher
    ordinals = range(12, 12 + len(w.train_ids))
    assert teacher_rollouts(config, w, ordinals) == []
    assert {len(r.seeds) for r in requests_for(config, w, range(12, 20))} == {6}
    assert len({shown(config, w, o)[0] for o in ordinals}) > 0.5 * len(w.train_ids)
    assert [shown(config, w, o) for o in ordinals] == [shown(*plain, o) for o in ordinals]


def test_groups_are_a_function_of_seed_and_ordinal(with_teacher):
    config, w = with_teacher
    by_one = {o: teacher_rollouts(config, w, [o]) for o in reversed(range(12))}
    assert teacher_rollouts(config, w, range(12)) == [r for o in range(12) for r in by_one[o]]


def test_a_teacher_is_marked_in_sample_and_row(with_teacher):
    config, w = with_teacher
    one = teacher_rollouts(config, w, [0])[0]
    sample, row = one.sample(), one.row()
    assert sample.author is Author.TEACHER
    assert sample.logprobs == ()
    assert sample.reward == one.reward
    assert row["author"] == "teacher"
    assert row["version"] is None
    assert row["logprobs"] == []
    assert "teacher.jsonl:" in row["cached"] and json.loads(json.dumps(row))["id"] == "0-4"


def test_the_deploy_share_is_of_the_students(with_teacher):
    config, w = with_teacher
    half = replace(config, rollout=replace(config.rollout, deploy_fraction=0.5))
    made = [(r.sampling, r.first, len(r.seeds)) for r in requests_for(half, w, range(1))]
    assert made == [(Sampling.TRAIN, 0, 2), (Sampling.DEPLOY, 2, 2)]


def test_hint_free_groups_rotate_and_take_solutions_only(with_teacher):
    config, w = with_teacher
    half = replace(config, rollout=replace(config.rollout, hint_free_share=0.5))
    free = [o for o in range(4000) if shown(half, w, o)[1] is Mode.GT_ONLY]
    assert 0.45 < len(free) / 4000 < 0.55
    again: dict[int, set[bool]] = {}
    for o in range(4000):
        again.setdefault(shown(half, w, o)[0], set()).add(o in free)
    assert sum(len(kinds) == 2 for kinds in again.values()) > 0.9 * len(again)  # the same problem with and without its hint
    early = [o for o in free if o < 12]
    assert early and all([d.completion for d in demonstrations(half, w, o)] == ["# solved"] for o in early)
    (request,) = requests_for(half, w, range(early[0], early[0] + 1))
    assert request.mode is Mode.GT_ONLY and len(request.seeds) == 5
    assert request.prompt_ids == w.prompt(request.problem_id, Mode.GT_ONLY) != w.prompt(request.problem_id)


def test_a_completion_above_the_limit_and_a_teacher_of_nothing_are_refused(plain, tmp_path):
    _, w = plain
    with pytest.raises(UserError, match=r"teacher\.jsonl:1.*tokens.*at most 64"):
        dataset(rows=[{"problem_id": w.train_ids[0], "completion": "word " * 200, "reward": 1}], tmp_path=tmp_path)
    with pytest.raises(UserError, match=r"teacher\.path"):
        dataset(rows=[{"problem_id": w.test_ids[0], "completion": "x", "reward": 1}], tmp_path=tmp_path)


def test_the_last_updates_are_sampled_by_the_deployed_block_alone():
    config, w = dataset("train.updates=5", "rollout.heal_updates=2", "rollout.deploy_fraction=0")
    by_update = [{q.sampling for q in requests_for(config, w, range(u * 4, u * 4 + 4))} for u in range(5)]
    assert by_update == [{Sampling.TRAIN}] * 3 + [{Sampling.DEPLOY}] * 2
    with pytest.raises(UserError, match="heal_updates"):
        load(TINY, sets=["train.updates=1", "rollout.heal_updates=2"])
