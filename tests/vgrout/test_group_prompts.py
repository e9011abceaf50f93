"""Rollouts get their prompt back from the first row of their group; logs that have it everywhere are read as they are."""

from vgrout.group_prompts import GroupPrompts


def test_a_prompt_is_that_of_the_groups_first_row_in_its_update():
    rows = [
        {"update": 0, "group": 0, "prompt": "a"}, {"update": 0, "group": 0}, {"update": 0, "group": 1, "prompt": "b"},
        {"update": 0, "group": 0}, {"update": 1, "group": 0}, {"update": 1, "group": 2, "prompt": "c"}, {"update": 1, "group": 2},
    ]  # fmt: skip
    prompts = GroupPrompts()
    assert [prompts.fill(row).get("prompt") for row in rows] == ["a", "a", "b", "a", None, "c", "c"]
    older = [{"update": 0, "group": 0, "prompt": text} for text in "xy"]
    assert [GroupPrompts().fill(row) for row in older] == older
