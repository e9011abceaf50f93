"""What a long command says of itself: an ETA that the first step does not spoil, no long silence, plain lines off a terminal."""

import io
import time

import pytest

from vgrout import progress
from vgrout.progress import Progress, alive, at, say


class Clock:
    """A monotonic clock that is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_eta_leaves_the_first_step_out(monkeypatch, capsys):
    clock = Clock()
    monkeypatch.setattr(progress.time, "monotonic", clock)
    steps = Progress("run", 6)
    for clock.now in (100.0, 110.0, 121.0, 131.0):  # the first one compiles and fills caches
        steps.step()
    said = capsys.readouterr().err.splitlines()
    assert said[0].endswith("ETA after the next") and said[1].endswith("ETA 40 s") and said[3].endswith("ETA 20 s")
    clock.now = 141.0
    steps.step(count=2)
    assert capsys.readouterr().err.endswith(", done\n")


def test_steps_of_an_earlier_run_promise_nothing(monkeypatch, capsys):
    clock = Clock()
    monkeypatch.setattr(progress.time, "monotonic", clock)
    steps = Progress("run", 100, done=90)
    for clock.now in (50.0, 60.0):
        steps.step()
    assert capsys.readouterr().err.endswith("ETA 1 min 20 s\n")


class Terminal(io.StringIO):
    """A terminal that is 40 characters wide."""

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        raise OSError


@pytest.mark.parametrize("terminal", [False, True])
def test_a_silence_is_broken_by_what_the_command_is_at(terminal, monkeypatch):
    output = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr("sys.stderr", output)
    monkeypatch.setattr(progress, "QUIET_S", 0.05)
    monkeypatch.setattr(progress, "REDRAW_S", 0.02)
    with alive(), alive():
        at("sampling 3/12 groups")
        until = time.monotonic() + 30
        while "sampling" not in output.getvalue() and time.monotonic() < until:
            time.sleep(0.01)
        at("")
        say("update 1/3")
    said = output.getvalue()
    assert "... sampling 3/12 groups" in said
    if terminal:  # the line is written over, and the next one begins where it was
        assert said.split("\x1b[2K")[-1] == "update 1/3\n"
    else:
        assert "\x1b" not in said and "\r" not in said and said.endswith("\nupdate 1/3\n")
    before = len(output.getvalue())
    at("forgotten")
    time.sleep(0.15)
    assert len(output.getvalue()) == before, "something was said after the command's end"
    at("")


def test_an_update_is_one_line_of_what_was_measured():
    from actors.rollouts.update_line import update_line

    metrics = {
        "reward/mean": 1.25, "rate/hack": 0.5, "rate/solve": 0.125, "gate/share_clean": 0.5, "gate/share_mid": 0.25,
        "gate/share_hack": 0.25, "kl/reference": float("nan"), "entropy": 0.75, "tokens_per_second": 812.4,
        "staleness": {"0": 12},
    }  # fmt: skip
    assert update_line(metrics) == (
        "reward 1.25  hack 0.50  solve 0.12  clean/mid/hack 0.50/0.25/0.25  entropy 0.75  812 tokens/s"
    )
    del metrics["gate/share_clean"]
    assert update_line(metrics | {"staleness": {"0": 1, "2": 3}}).endswith("812 tokens/s  staleness 1.5")
