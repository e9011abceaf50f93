"""Which cgroup is taken and what is written into it, on a tree of plain files: no cgroup v2 with controllers was at hand."""

from pathlib import Path

import pytest

from sandbox.jail import cgroups
from sandbox.jail.levels import Limits

OWN = "/a/b"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for folder in (tmp_path, tmp_path / "a", tmp_path / "a/b"):
        folder.mkdir(exist_ok=True)
        (folder / "cgroup.procs").touch()
        (folder / "cgroup.subtree_control").write_text("cpu\n")
    return tmp_path


def test_the_nearest_group_that_divides_memory_and_pids_is_taken(tree: Path) -> None:
    assert cgroups.parent(tree, OWN) is None
    (tree / "cgroup.subtree_control").write_text("cpu memory pids\n")
    assert cgroups.parent(tree, OWN) == tree
    (tree / "a/cgroup.subtree_control").write_text("memory pids\n")
    assert cgroups.parent(tree, OWN) == tree / "a"
    assert cgroups.parent(tree, "/gone/elsewhere") == tree


def test_a_group_gets_every_limit_and_the_process(tree: Path) -> None:
    (tree / "a/cgroup.subtree_control").write_text("memory pids cpu\n")
    limits = Limits(memory=1 << 30)
    group = cgroups.join(4711, limits, tree, OWN)
    assert group is not None and group.parent == tree / "a"
    written = {path.name: path.read_text() for path in group.iterdir()}
    assert (written["memory.max"], written["memory.swap.max"]) == (str((1 << 30) + (256 << 20)), "0")
    assert (written["pids.max"], written["cpu.max"], written["cgroup.procs"]) == ("8", "100000 100000", "4711")
    assert cgroups.join(4711, limits, tree, OWN) != group


def test_nothing_is_changed_where_there_is_no_such_group(tree: Path) -> None:
    before = sorted(tree.rglob("*"))
    assert cgroups.join(4711, Limits(), tree, OWN) is None
    assert sorted(tree.rglob("*")) == before


def test_this_machines_groups_are_described_without_a_change() -> None:
    assert cgroups.describe().startswith("cgroup v2: ")
