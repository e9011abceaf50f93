"""What a run says of an update's numbers: engines that sample from another distribution than the learner computes stop it, once
it is written what was seen; a step that was not taken is told once."""

from pathlib import Path

import pytest

from actors.rollouts.recorder import GradedRollouts, Recorder
from vgrout.config import load
from vgrout.records import UpdateResult
from vgrout.run_directory import RunDir
from vgrout.signals import RunStopped


class NoProblems:
    """A data set that no rollout refers to."""

    modes: dict[int, str] = {}  # noqa: RUF012
    tokenizer = None


@pytest.mark.parametrize(("gap", "stops"), [(0.0, False), (0.25, False), (0.26, True)])
def test_a_mismatch_above_the_limit_stops_the_run_with_its_cause(tmp_path, monkeypatch, gap, stops):
    monkeypatch.setattr("actors.rollouts.recorder.rates", lambda batch: {})  # of no rollouts
    config = load(Path("configs/tiny.toml"), arm="vanilla", seed=3, sets=["runtime.mismatch_limit=0.25"])
    run = RunDir.create(tmp_path / "run", config, {})
    recorder = Recorder(config, NoProblems(), run)  # type: ignore[arg-type]
    result = UpdateResult({"mismatch/kl": gap}, [])
    if stops:
        with pytest.raises(RunStopped, match=r"update 0: mismatch/kl is 0\.26, above runtime\.mismatch_limit = 0\.25"):
            recorder.update(0, GradedRollouts([], [], []), result, {})
    else:
        recorder.update(0, GradedRollouts([], [], []), result, {})
    assert [row["mismatch/kl"] for row in run.read("metrics.jsonl")] == [gap]


def test_the_first_step_that_is_not_taken_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("actors.rollouts.recorder.rates", lambda batch: {})
    config = load(Path("configs/tiny.toml"), arm="vanilla", seed=3)
    run = RunDir.create(tmp_path / "run", config, {})
    recorder = Recorder(config, NoProblems(), run)  # type: ignore[arg-type]
    for update, skipped in enumerate([0, 1, 1]):
        result = UpdateResult({"skipped_update": skipped, "grad_norm/total": float("inf") if skipped else 1.0}, [])
        recorder.update(update, GradedRollouts([], [], []), result, {})
    said = capsys.readouterr().err
    assert said.count("not finite") == 1 and "update 1: the gradient is not finite" in said
    assert [row["grad_norm/total"] for row in run.read("metrics.jsonl")] == [1.0, None, None]
