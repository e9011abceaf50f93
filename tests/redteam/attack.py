"""What an attack is, the world it attacks, and naive graders of the published kind that show the attacks to be real.

Invariant: an attack prints BREACH if it got hold of something it should not have, and returns wrong answers otherwise,
so a passing oracle or a BREACH on stdout is a defeat of the jail, and neither can happen by chance.
"""

import json
import secrets
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from vgrout.records import Case, Problem, Status

# Arbitrary answers: a program cannot compute them, it has to be told. The prompt shows the first.
ANSWERS = {n: (n * 7919 + 104729) % 1000003 for n in range(1, 13)}
BREACH = "BREACH"


class Naive(Enum):
    """Which naive grader an attack beats."""

    EXIT_CODE = "exit_code"  # program and asserts in one script
    NONCE = "nonce"  # program, expected values and comparator in one process that prints a nonce
    REACH = "reach"  # no jail: the program prints BREACH for what it got hold of
    ALARM = "alarm"  # a deadline by signal.alarm in the program's own process
    FILE = "file"  # result.txt read as it is
    NOT_RUN = "not_run"  # would harm the machine outside the jail, or attacks a part that naive graders lack


@dataclass(frozen=True)
class Attack:
    """One hostile program: `body` is its code, `statuses` the verdicts that count as a defeat of the attack."""

    name: str
    body: str
    naive: Naive = Naive.NOT_RUN
    statuses: frozenset[Status] = frozenset(Status) - {Status.PASS, Status.INFRA_ERROR}
    slow: bool = False  # runs into its deadline
    answers: tuple[tuple[int, Any], ...] = ()  # of a problem of its own; default ANSWERS

    def code(self, planted: "Secrets") -> str:
        """The program, aimed at the secrets that this test run planted."""
        return self.body.replace("@FILE@", str(planted.file)).replace("@FOLDER@", str(planted.folder))


CANONICAL = f"class Solution:\n    def solve(self, n):\n        return {ANSWERS!r}[n]\n"


def problem(answers: tuple[tuple[int, Any], ...] = ()) -> Problem:
    cases = tuple(Case((), {"n": n}, answer) for n, answer in answers or ANSWERS.items())
    return Problem(1, (), "solve", "import math\n", CANONICAL, cases)


def correct() -> str:
    return f"```python\n{CANONICAL}```"


def exit_code_grader(body: str, folder: Path, extra: dict[str, str] | None = None) -> tuple[bool, str]:
    """Program and asserts in one script; exit code 0 is a pass."""
    asserts = "\n".join(f"assert Solution().solve(n = {n}) == {answer}" for n, answer in ANSWERS.items())
    done = _python(["-c", f"{body}\n{asserts}\n"], folder, extra)
    return done.returncode == 0, done.stdout


_NONCE_SCRIPT = """
import json, sys
def compare(value, expected):
    return value == expected
def main():
    payload = json.loads(sys.argv[1])  # code, tests, and the canonical solution to compare run_tests with
    nonce = sys.argv[2]
    names = {"__name__": "solution"}
    exec(payload["code"], names)
    passed = True
    for n, expected in payload["tests"]:
        value = names["Solution"]().solve(n=n)
        passed = passed and bool(compare(value, expected))
    print(nonce + json.dumps({"passed": passed}))
main()
"""


def nonce_grader(body: str, folder: Path, extra: dict[str, str] | None = None) -> tuple[bool, str]:
    """Tests and comparator beside the program in one process; a line with a nonce carries the verdict."""
    nonce = secrets.token_hex(16)
    payload = json.dumps({"code": body, "tests": list(ANSWERS.items()), "canonical": CANONICAL})
    done = _python(["-c", _NONCE_SCRIPT, payload, nonce], folder, extra)
    lines = [line for line in done.stdout.splitlines() if line.startswith(nonce)]
    return bool(lines) and bool(json.loads(lines[-1].removeprefix(nonce)).get("passed")), done.stdout


def reach(body: str, folder: Path, extra: dict[str, str] | None = None) -> str:
    """What a program prints when it runs with no jail at all."""
    return _python(["-c", body], folder, extra).stdout


_ALARM_SCRIPT = """
import signal, sys
def late(*args):
    raise TimeoutError
signal.signal(signal.SIGALRM, late)
signal.setitimer(signal.ITIMER_REAL, 0.2)
try:
    names = {"__name__": "solution"}
    exec(sys.argv[1], names)
    names["Solution"]().solve(n=1)
except Exception:
    pass
finally:
    signal.setitimer(signal.ITIMER_REAL, 0)
"""


def alarm_grader_ends(body: str, folder: Path, limit_s: float) -> bool:
    """Whether a grader that limits the program to 0.2 s by an alarm in the same process ends within `limit_s`."""
    try:
        _python(["-c", _ALARM_SCRIPT, body], folder, None, limit_s)
    except subprocess.TimeoutExpired:
        return False
    return True


def naive_result_file(body: str, folder: Path) -> str:
    """What a grader reads that runs the program beside an empty result.txt and then opens that path."""
    (folder / "result.txt").touch()
    _python(["-c", body], folder, None)
    with (folder / "result.txt").open(errors="replace") as file:
        return file.read(1 << 20)


def _python(
    words: list[str], folder: Path, extra: dict[str, str] | None, limit_s: float = 60.0
) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", **(extra or {})}
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, errors="replace", timeout=limit_s)


@dataclass(frozen=True)
class Secrets:
    """Things that a jailed program must not reach: planted by the tests, known by their token."""

    token: str
    file: Path
    folder: Path

    @staticmethod
    def plant() -> "Secrets":
        folder = Path(tempfile.mkdtemp(prefix="vgrout-redteam-"))
        folder.chmod(0o755)
        token = "token-" + secrets.token_hex(8)
        file = folder / "secret.txt"
        file.write_text(token)
        file.chmod(0o644)
        (folder / ".ssh").mkdir(mode=0o755)
        (folder / ".ssh" / "id_rsa").write_text(token)
        return Secrets(token, file, folder)
