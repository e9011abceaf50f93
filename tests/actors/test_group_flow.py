"""Groups of one update through engines and graders: all come back, once, with their own verdicts, whoever is faster."""

from types import SimpleNamespace

import pytest

from actors.engines.protocol import Group, Slice
from actors.ray_cluster.calls import InProcess
from actors.ray_cluster.workers import Workers
from actors.rollouts.group_flow import GroupFlow
from vgrout.group_records import Key


class Engine:
    """Finishes its groups from the last to the first, `pace` at a time."""

    def __init__(self, pace):
        self.pace, self.groups = pace, []

    def advance(self, groups, slice_s):
        self.groups += groups
        done, self.groups = self.groups[: -self.pace - 1 : -1], self.groups[: -self.pace]
        rollout = SimpleNamespace(problem_id=7, mode="sentinel", text="")
        return Slice([(g.key, [SimpleNamespace(id=f"{g.key.ordinal}-{i}", **vars(rollout)) for i in range(2)]) for g in done])


class Grader:
    def grade(self, jobs):
        return [(f"reward of {job.rollout_id}", f"audit of {job.rollout_id}") for job in jobs]


@pytest.mark.parametrize(("groups", "paces"), [(5, [1, 3]), (5, [2, 2]), (1, [1, 1]), (4, [9])])
def test_every_group_comes_once_with_its_own_verdicts(groups, paces):
    workers, said, whole = Workers(), [], []
    for pace in paces:
        workers.add_engine(lambda pace=pace: InProcess(Engine(pace)))
    for _ in range(2):
        workers.add_grader(lambda: InProcess(Grader()))
    flow = GroupFlow(
        workers, SimpleNamespace(problems={7: None}), [Group(Key(o, 0), ()) for o in range(groups)], whole=whole.append
    )
    found = list(flow.graded(sampled=lambda: said.append("sampled")))
    assert sorted(one.key.ordinal for one in found) == list(range(groups))
    for one in found:
        names = [f"{one.key.ordinal}-{i}" for i in range(2)]
        assert [r.id for r in one.rollouts] == names
        assert one.rewards == [f"reward of {n}" for n in names] and one.audits == [f"audit of {n}" for n in names]
    assert said == ["sampled"]
    assert sorted([r.id for r in one] for one in whole) == [[f"{o}-{i}" for i in range(2)] for o in range(groups)]
