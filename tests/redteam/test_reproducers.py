"""Every program that once got through has its right verdict at L2 and L3, for root and for an ordinary user."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from reproducers import RECEIVER, RESUBMITTED, SENDER, wrong_verdicts

from sandbox.grading.grader import Grader
from vgrout.errors import UserError

ROOT = Path(__file__).parents[2]
USER = 12345


def skip_without(level: str) -> None:
    try:
        Grader(level).close()
    except UserError as error:
        pytest.skip(f"no {level} here: {error.found}")


@pytest.mark.parametrize("level", ["L2", "L3"])
def test_for_this_user(level: str) -> None:
    skip_without(level)
    assert wrong_verdicts(level) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user; the test above runs as this ordinary user")
@pytest.mark.parametrize("level", ["L2", "L3"])
def test_for_an_ordinary_user(level: str) -> None:
    skip_without(level)
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests/redteam")))
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        command = [python, str(ROOT / "tests/redteam/reproducers.py"), level]
        try:
            done = subprocess.run(
                command,
                env=environment,
                cwd="/",
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
                user=USER,
                group=USER,
                extra_groups=[],
            )
        except OSError:  # under root's home
            continue
        if done.returncode == 0:
            assert done.stdout == ""
            return
        if "SyntaxError" not in done.stderr and "ModuleNotFoundError" not in done.stderr:
            pytest.fail(done.stderr)
    pytest.skip("no Python 3.11 that an ordinary user may run and that can read this checkout")


def test_the_locks_carry_a_source_where_there_is_no_jail() -> None:
    """The control: without a jail the receiver's class is the sender's. Both have /dev/null as descriptor 0."""
    ask = "\nprint(Solution().solve(3))\n"
    sender = subprocess.Popen([sys.executable, "-c", SENDER], stdin=subprocess.DEVNULL)
    done = subprocess.run(
        [sys.executable, "-c", RECEIVER + ask], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    )
    sender.wait()
    assert done.stdout.strip() not in ("", "0")


def test_a_resubmission_learns_where_the_file_stays(tmp_path: Path) -> None:
    """The control: in one folder, killed at the first wrong value, the same text knows the answers by its third run.

    It writes into slots of 20 ms (a kernel of 100 Hz stamps files up to 10 ms late), and a busy machine makes it miss: any of ten
    folders is enough.
    """
    judge = (
        "\nif not all(Solution().solve(n) == answer for n, answer in ((1, True), (2, False), (3, False))): raise SystemExit(1)\n"
    )
    command = [sys.executable, "-c", RESUBMITTED + judge]
    for attempt in range(10):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        (folder / "result.txt").touch()
        codes = [subprocess.run(command, cwd=folder, check=False).returncode for _ in range(6)]
        assert codes[0] == 1
        if 0 in codes:
            return
    raise AssertionError("it never learned: the control shows nothing")
