"""A suite that was interrupted twice and killed once ends in the bytes of one that was not, and leaves no process behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ARMS = ("base", "routev", "placebo")
SUITE = f"""
config = "{Path("configs/tiny.toml").resolve()}"
seeds = [7]
arms = {json.dumps(ARMS)}
parallel = 2
set = [
  "runtime.backend=local", "runtime.engine=hf", "runtime.learner_threads=1", "runtime.graders=1", "lora.rank=4",
  "rollout.prompts=2", "rollout.samples=4", "train.updates=4", "train.checkpoint_every=2", "eval.samples=1",
  "data.test={{test}}", "rollout.max_new_tokens=24",
]
"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory) -> Path:
    """A suite file over a test split of 4 problems."""
    folder = tmp_path_factory.mktemp("suite")
    (folder / "test.jsonl").write_text("".join(Path("configs/tiny/test.jsonl").read_text().splitlines(keepends=True)[:4]))
    (folder / "small.toml").write_text(SUITE.format(test=folder / "test.jsonl"))
    return folder / "small.toml"


def start(suite: Path, out: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "vgrout_cli.main", "suite", str(suite), "--out", str(out)])


def wait_for(process: subprocess.Popen[bytes], log: Path, text: str) -> None:
    """Until a run's log says `text`; fails where the suite has ended before."""
    while not (log.is_file() and text in log.read_text(errors="replace")):
        assert process.poll() is None, f"the suite ended before {log} said {text!r}"
        time.sleep(0.02)


def runs_under(out: Path) -> list[str]:
    """Command lines of living processes that name `out`."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = place.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has just ended
            continue
        if str(out) in line and int(place.parent.name) != os.getpid():
            found.append(line)
    return found


def test_interrupted_twice_and_killed_once_the_results_are_the_same(suite, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert start(suite, whole).wait() == 0

    log = cut / "routev/seed7/log.txt"
    for said, number, code in (
        ("update 1/4", signal.SIGINT, 130),
        ("update 3/4", signal.SIGKILL, -signal.SIGKILL),
        ("evaluate 1/3", signal.SIGINT, 130),
    ):
        process = start(suite, cut)
        wait_for(process, log, said)
        process.send_signal(number)
        assert process.wait() == code
        time.sleep(0.5)  # the kernel's own kill needs no longer
        assert runs_under(cut) == []
    statuses = {name: run["status"] for name, run in json.loads((cut / "suite.json").read_text())["runs"].items()}
    assert statuses["routev/seed7"] == "missing" and statuses["placebo/seed7"] == "missing"
    assert start(suite, cut).wait() == 0

    for arm in ARMS:
        for name in ("eval_curve.jsonl", "per_mode_deploy.json", "train.safetensors", "deploy/adapter_model.safetensors"):
            assert (cut / arm / "seed7" / name).read_bytes() == (whole / arm / "seed7" / name).read_bytes(), (arm, name)
    for arm in ("routev", "placebo"):
        updates = [json.loads(line)["update"] for line in (cut / arm / "seed7/metrics.jsonl").read_text().splitlines()]
        assert updates == list(range(4))
    written = json.loads((cut / "suite.json").read_text())
    assert {run["status"] for run in written["runs"].values()} == {"done"} and written["commit"]

    labels = [shares(out / arm / "seed7") for out in (whole, cut) for arm in ("routev", "placebo")]
    assert labels[0] == labels[1] == labels[2] == labels[3]  # the placebo's shares are routev's, update by update


def shares(run: Path) -> list[tuple[float, ...]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [tuple(row[f"gate/share_{label}"] for label in ("clean", "mid", "hack")) for row in rows]
