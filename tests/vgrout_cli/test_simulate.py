"""`vgrout simulate`: one readable table, JSON, bad scenarios named; and neither Ray nor torch behind it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vgrout_cli.main import main

SCENARIO = """
config = "{configs}/tiny.toml"
set = ["train.updates=4", "rollout.prompts=2", "rollout.samples=2"]
[engine]
step_ms = 10.0
[lengths]
median = 40
[learner]
update_s = 1.0
"""


def scenario(folder: Path, text: str = "", **changes: str) -> Path:
    whole = SCENARIO.format(configs=Path("configs").resolve())
    for old, new in changes.items():
        whole = "\n".join(new if line.startswith(old) else line for line in whole.splitlines())
    path = folder / "case.toml"
    path.write_text(whole + "\n" + text)
    return path


def test_every_shipped_scenario_simulates(capsys):
    paths = sorted(Path("configs/simulate").glob("*.toml"))
    assert len(paths) == 3
    for path in paths:
        assert main(["simulate", str(path), "--set", "train.updates=3"]) == 0
        said = capsys.readouterr().out
        assert "learner: idle" in said
        assert "learner publishes per version" in said
        assert max(map(len, said.splitlines())) < 130


def test_a_sweep_makes_a_column_per_value_and_json_says_the_same(tmp_path, capsys):
    path = scenario(tmp_path, '[sweep]\n"runtime.engines" = [1, 2]\n"runtime.max_staleness" = [0, 3]\n')
    assert main(["simulate", str(path), "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert [list(f["swept"].values()) for f in results] == [[1, 0], [1, 3], [2, 0], [2, 3]]
    assert all(f["groups"] == 8 and sum(f["ages"].values()) == 8 and f["outcome"] == "done" for f in results)
    for kind in ("learner", "engines", "graders"):
        assert all(sum(f[kind].values()) == pytest.approx(1) and f[kind]["idle"] >= -1e-9 for f in results)
    assert main(["simulate", str(path)]) == 0
    rows = {line[:30].strip(): line[30:].split() for line in capsys.readouterr().out.splitlines()}
    assert rows["runtime.max_staleness"][-4:] == ["0", "3", "0", "3"]


@pytest.mark.parametrize(
    ("change", "text", "says"),
    [
        ({"step_ms": "step_ms = 0.0"}, "", "engine.step_ms: found 0.0; expected a number, above 0"),
        ({"step_ms": "step_msec = 1.0"}, "", "engine.step_msec: found an unknown key; expected did you mean engine.step_ms?"),
        ({"median": "sigma = 1.0"}, "", "lengths.median: found nothing"),
        ({"update_s": "update_s = -1.0"}, "", "learner.update_s: found -1.0"),
        ({"update_s": "publish_s = 1.0"}, "", "learner.update_s: found updates that take no time"),
        ({}, '[[crash]]\npart = "engine-7"\nat_s = 1.0', "crash.part: found 'engine-7'; expected learner, engine-0"),
        ({}, '[[slow]]\npart = "engine-0"\nfactor = 0.0', "slow[0].factor: found 0.0"),
        ({}, '[[partition]]\npart = "learner"\nat_s = 1.0\nfor_s = -2.0', "partition[0].for_s: found -2.0"),
        ({}, "[sweep]\nruntime.engines = [1]", "sweep: found"),
        ({}, '[sweep]\n"runtime.engine_count" = [1]', "runtime.engine_count: found an unknown key"),
        ({"set": 'set = ["runtime.mode=sync"]'}, "", "runtime.mode: found 'sync'"),
    ],
)
def test_a_bad_scenario_is_one_message(tmp_path, capsys, change, text, says):
    assert main(["simulate", str(scenario(tmp_path, text, **change))]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_a_simulation_that_never_trains_ends_with_a_message(tmp_path, capsys):
    path = scenario(tmp_path, '[[partition]]\npart = "learner"\nat_s = 1.0\nfor_s = 200000.0')
    assert main(["simulate", str(path)]) == 1
    assert "no update in 24 virtual hours" in capsys.readouterr().err


def test_it_needs_neither_ray_nor_vllm(tmp_path):
    code = "import sys; from vgrout_cli.main import main; main(sys.argv[1:]); print({'ray', 'vllm'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code, "simulate", str(scenario(tmp_path))], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "set()", done.stderr
