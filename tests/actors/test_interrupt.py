"""Ctrl-C: the running update is finished, a checkpoint written, exit code 130; the resumed run ends whole."""

import signal
import subprocess
import sys

from vgrout.run_directory import RunDir

SETS = ["runtime.backend=local", "runtime.engine=hf", "runtime.graders=1", "runtime.learner_threads=1"]
SETS += ["rollout.prompts=1", "rollout.samples=2", "train.updates=12", "train.checkpoint_every=12"]


def test_sigint_leaves_a_resumable_run_and_exits_130(tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "vgrout_cli.main", "train", "configs/tiny.toml", "--arm", "vanilla", "--out", str(out)]
    command += [x for s in SETS for x in ("--set", s)]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert run.stderr is not None
    for line in run.stderr:
        if "update 1/12" in line:
            run.send_signal(signal.SIGINT)
            break
    said = run.stderr.read()  # to its end, so that the process has closed it
    assert run.wait(300) == 130 and "--resume" in said
    (before,) = [c for c in RunDir(out).checkpoints() if c > 0]
    assert 1 <= before < 12 and not (out / "train.safetensors").exists()
    again = [sys.executable, "-m", "vgrout_cli.main", "train", "--resume", str(out)]
    assert subprocess.run(again, capture_output=True).returncode == 0
    assert RunDir(out).checkpoints() == [0, before, 12]
    assert [m["update"] for m in RunDir(out).read("metrics.jsonl")] == list(range(12))
