"""How a run ends when it is asked to, when it cannot, and what it leaves behind: nothing but a run that can be resumed."""

import os
import signal
import time
from pathlib import Path

import pytest
from kills import train
from tiny_run import arguments, check_journal
from victims import Belongings, belongings

from vgrout.run_directory import RunDir

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


@pytest.mark.engine
def test_ctrl_c_ends_an_asynchronous_run_after_its_update_and_leaves_nothing_behind(tmp_path, capsys):
    """As a terminal does it: SIGINT to the whole process group."""
    out = tmp_path / "run"
    held: list[Belongings] = []
    asked: list[float] = []

    def interrupt(pids: dict[str, int]) -> None:
        held.append(belongings(pids["driver"]))
        asked.append(time.monotonic())
        os.killpg(pids["driver"], signal.SIGINT)

    sets = ("runtime.mode=async", "train.updates=40", "train.checkpoint_every=40")
    core = {"VLLM_ENABLE_V1_MULTIPROCESSING": "1"}  # core and worker in processes of their own, shared memory between them
    code, said = train(arguments(out, *sets), tmp_path / "points", [("publish-2", interrupt)], **core)
    took = time.monotonic() - asked[0]
    assert code == 130 and "--resume" in said, said[-3000:]
    assert len(held[0].pids) > 10  # it has looked at something
    assert len(held[0].sockets) > 3
    assert held[0].shared
    assert "died" not in said
    assert held[0].left() == []
    with capsys.disabled():
        print(f"\nSIGINT to exit: {took:.1f} s")
    assert took < 30
    (done,) = [c for c in RunDir(out).checkpoints() if c > 0]
    assert [m["update"] for m in RunDir(out).read("metrics.jsonl")] == list(range(done)) and 1 <= done < 40


def test_a_run_that_hangs_says_where_everybody_is_and_ends_in_its_time(tmp_path):
    """The learner is stopped: the watchdog writes where all parts stand, and SIGTERM ends the run though the update cannot."""
    out = tmp_path / "run"
    held: list[Belongings] = []

    def hang(pids: dict[str, int]) -> None:
        os.kill(pids["learner"], signal.SIGSTOP)
        until = time.monotonic() + 60
        while not dumps(out):
            assert time.monotonic() < until
            time.sleep(0.1)
        held.append(belongings(pids["driver"]))
        os.kill(pids["driver"], signal.SIGTERM)

    sets = ("runtime.mode=async", "runtime.engine=hf", "runtime.max_staleness=0", "runtime.watchdog_s=2", "runtime.stop_s=2")
    code, said = train(
        arguments(out, *sets, "train.updates=6", "train.checkpoint_every=2"), tmp_path / "points", [("publish-1", hang)]
    )
    assert code == 143 and "did not end within runtime.stop_s = 2 s" in said and "stacks of all actors" in said, said[-3000:]
    sections = dumps(out)[0].split("== ")[1:]
    parts = {section.split(" ")[0]: section for section in sections}
    assert {"driver", "learner", "engine-0", "grader-0"} == parts.keys()
    assert "no answer; the process's state is T (stopped)" in parts["learner"]
    assert all("File " in text for name, text in parts.items() if name != "learner")
    assert held[0].left() == []
    code, said = train(["--resume", str(out)], tmp_path / "again", [])
    assert code == 0, said[-3000:]
    check_journal(out, 6, 2)


def dumps(run: Path) -> list[str]:
    """What the watchdog wrote since the learner was stopped; before, while the parts start, it writes too."""
    texts = [path.read_text() for path in sorted(run.glob("stacks-*.txt"), key=lambda path: path.stat().st_mtime)]
    return [text for text in texts if "T (stopped)" in text and "== grader-0" in text]
