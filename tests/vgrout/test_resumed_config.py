"""What `--resume --set` may change, what it leaves in run.json, and what `--resume-or-start` goes on with."""

import json
from pathlib import Path

import pytest

from vgrout import resumed_config
from vgrout.config import Config, load
from vgrout.errors import UserError
from vgrout.run_directory import RunDir
from vgrout_cli.commands.train import begun


@pytest.fixture
def config() -> Config:
    return load("tiny", seed=3)


def begun_run(folder: Path, config: Config, *, checkpoint: bool) -> RunDir:
    run = RunDir.create(folder, config, {})
    if checkpoint:
        run.write_checkpoint(0, b"adapter", b"optimizer", {})
    return run


@pytest.mark.parametrize(
    "text", ["runtime.restarts=9", "runtime.grade_deadline_s=20.0", "runtime.engines=3", "rollout.prompt_limit=999"]
)
def test_limits_and_counts_may_change(config, text):
    section, _, field = text.partition("=")[0].partition(".")
    changed = resumed_config.changed(config, [text], "--resume")
    assert getattr(getattr(changed, section), field) == json.loads(text.partition("=")[2])
    assert resumed_config.changed(changed, [], "--resume") == changed


@pytest.mark.parametrize(
    "text", ["optim.lr=0.1", "seed=4", "arm=vanilla", "rollout.samples=4", "gate.rule=pinned", "runtime.mode=async"]
)
def test_what_decides_what_is_learned_may_not(config, text):
    with pytest.raises(UserError, match="decides what is learned") as refused:
        resumed_config.changed(config, ["runtime.restarts=9", text], "--resume")
    assert text in refused.value.where


def test_a_change_is_recorded_with_what_was_there(tmp_path, config):
    run = begun_run(tmp_path / "run", config, checkpoint=False)
    before = config.runtime.restarts
    resumed_config.record(run, resumed_config.changed(config, [f"runtime.restarts={before + 5}"], "--resume"))
    assert run.config().runtime.restarts == before + 5
    (trace,) = run.about()["resumed_with"]
    assert (trace["name"], trace["was"], trace["is"]) == ("runtime.restarts", before, before + 5)
    resumed_config.record(run, run.config())
    assert len(run.about()["resumed_with"]) == 1


def test_resume_or_start_goes_on_only_where_there_is_a_checkpoint(tmp_path, config):
    out = tmp_path / "run"
    assert begun(out, config) is None
    run = begun_run(out, config, checkpoint=False)
    assert begun(out, config) is None
    run.write_checkpoint(0, b"adapter", b"optimizer", {})
    assert begun(out, config) == out


def test_resume_or_start_refuses_another_run_in_the_same_folder(tmp_path, config):
    begun_run(tmp_path / "run", config, checkpoint=True)
    assert begun(tmp_path / "run", load("tiny", seed=3, sets=["runtime.restarts=9"])) == tmp_path / "run"
    with pytest.raises(UserError, match=r"optim\.lr"):
        begun(tmp_path / "run", load("tiny", seed=3, sets=["optim.lr=0.001"]))
    with pytest.raises(UserError, match="--resume-or-start"):
        begun(None, config)
