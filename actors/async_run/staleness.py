"""How old a rollout may be: limited when a group is admitted, enforced when it is consumed. Pure functions.

Age = version of the learner that consumes a rollout minus the version that sampled it. Invariant: a group admitted while
`room` > 0 is young enough in the update that its place in the queue leads to, and a group older than `max_staleness` is
never consumed (`young`), however late it comes in. With max_staleness 0 this is lock step.
"""


def room(*, version: int, next_update: int, alive: int, prompts: int, max_staleness: int, updates: int) -> int:
    """How many more groups may be admitted now, sampled with `version`.

    `next_update` is the first update whose batch is not taken yet, `alive` the admitted groups that an update may still
    take, `prompts` the groups of one update, `updates` the length of the run. The groups before it in the queue fill
    alive // prompts updates, so a new one is consumed at update next_update + alive // prompts; asking that this is at
    most version + max_staleness, and within the run, gives the closed form below.
    """
    first_too_old = min(version + max_staleness + 1, updates)
    return max(0, (first_too_old - next_update) * prompts - alive)


def young(*, version: int, update: int, max_staleness: int) -> bool:
    """May update number `update` (made by the learner of that version) consume a rollout sampled with `version`?"""
    return 0 <= update - version <= max_staleness
