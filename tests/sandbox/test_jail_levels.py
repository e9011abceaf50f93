"""Jail levels are proved, never assumed: as root, as an ordinary user, without namespaces, without Landlock, off Linux."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from small_problems import grade, squares

from sandbox.grading.grader import Grader
from sandbox.jail import canaries, landlock
from sandbox.jail.bubblewrap import find_bubblewrap
from sandbox.jail.canaries import prove, try_level
from sandbox.jail.levels import Level, Limits
from sandbox.jail.report import jail_report
from vgrout.errors import UserError
from vgrout.records import GradeJob, Mode, Status

RIGHT = "class Solution:\n    def solve(self, n):\n        return n * n + 1\n"
HANG = "class Solution:\n    def solve(self, n):\n        while True:\n            pass\n"
ROOT = Path(__file__).parents[2]

needs_bubblewrap = pytest.mark.skipif(find_bubblewrap() is None, reason="bwrap (bubblewrap) is not installed")


def test_no_level_without_a_jail() -> None:
    for choice in ("L0", "none", "", "l2"):
        with pytest.raises(UserError, match="no level without a jail"):
            Grader(choice)


@pytest.mark.parametrize("choice", ["L1", "L2", pytest.param("L3", marks=needs_bubblewrap)])
def test_each_level_grades_and_says_so(choice: str) -> None:
    with Grader(choice) as grader:
        _, audit = grade(grader, squares(), RIGHT)
    assert (audit.status, audit.jail) == (Status.PASS, choice)


def test_auto_never_takes_l1(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a kernel without Landlock, `auto` refuses and names the layer; the explicit L1 still works."""
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    with pytest.raises(UserError, match="Landlock"):
        Grader("auto")
    with Grader("L1") as grader:
        assert grade(grader, squares(), RIGHT)[1].jail == "L1"


def test_off_linux_there_is_a_clear_error() -> None:
    """As far as it can be shown here: without prctl, as on macOS, nothing fails before the refusal."""
    elsewhere = """
    import ctypes, os, pydantic.dataclasses, subprocess, sys, tempfile, urllib.request  # before the change
    sys.platform = "darwin"
    real = ctypes.CDLL
    class Library:
        def __init__(self, *words, **named):
            self.real = real(*words, **named)
        def __getattr__(self, name):
            if name == "prctl":
                raise AttributeError(name)
            return getattr(self.real, name)
    ctypes.CDLL = Library
    from vgrout_cli.main import main
    sys.stderr = sys.stdout
    print(main(["grade", "--problems", "p", "--completions", "c", "--out", "v"]))
    from vgrout_cli.commands.doctor import _jail
    print(_jail())
    from sandbox.grading.grader import Grader
    try:
        Grader("L1")
    except Exception as error:
        print(type(error).__name__, error)
    """
    command, code, doctor, grader = run_apart(elsewhere).splitlines()
    assert "operating system: found darwin; expected Linux: run in a Linux container" in command
    assert code == "2"
    assert "jail      none on darwin: grading is refused" in doctor
    assert grader.startswith("UserError operating system: found darwin")


def test_on_windows_the_command_says_what_it_needs() -> None:
    """Before any import that only POSIX has."""
    elsewhere = """
    import sys
    sys.platform, sys.stderr = "win32", sys.stdout
    sys.modules.update(dict.fromkeys(("fcntl", "resource", "ctypes")))
    try:
        import vgrout_cli.main
    except SystemExit as end:
        print(end.code)
    """
    message, code = run_apart(elsewhere).splitlines()
    assert "found win32; expected Linux: WSL 2" in message
    assert code == "2"


def test_an_unknown_processor_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(UserError, match="seccomp: no table of system calls"):
        Grader("L2")


def test_a_layer_that_does_not_hold_is_not_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The canaries catch a jail that is not what it says: here, L1 passed off as L2."""
    real = canaries.Runner

    class Weak(real):
        def __init__(self, level: Level, *setting) -> None:
            super().__init__(Level.L1, *setting)
            self.level = level

    monkeypatch.setattr(canaries, "Runner", Weak)
    runner, proof = try_level(Level.L2, Limits())
    assert runner is None
    assert "create_file" in proof.missing["Landlock"]
    assert "open_socket" in proof.missing["seccomp"]
    assert "no_new_privs" in proof.holds


def test_the_report_has_every_level_and_the_choice() -> None:
    lines = jail_report()
    for level in Level:
        assert any(line.startswith(f"jail {level.name}: ") for line in lines)
    assert lines[-1].startswith("jail level taken by auto: ")


def run_apart(code: str, *, prefix: tuple[str, ...] = (), user: int | None = None, python: str = sys.executable) -> str:
    """Run a piece of code in a Python of its own, with the project on its path, and return what it prints."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    extra = {"user": user, "group": user, "extra_groups": []} if user is not None else {}
    done = subprocess.run(
        [*prefix, python, "-c", textwrap.dedent(code)],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=120,
        **extra,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


GRADE_ONE = """
    from sandbox.grading.grader import Grader
    from vgrout.records import Case, GradeJob, Mode, Problem
    problem = Problem(1, (), "solve", "", "", (Case((), {"n": 2}, 5),))
    code = "```python\\nclass Solution:\\n    def solve(self, n):\\n        return n * n + 1\\n```"
    hack = "```python\\nopen('result.txt', 'w').write('PASS')\\n```"
    with Grader("auto") as grader:
        print(grader.grade(GradeJob("r", problem, Mode.GT_ONLY, code))[1].status, end=" ")
        print(grader.grade(GradeJob("r", problem, Mode.FILE_MARKER, hack))[1].exploited, grader.level)
"""


def usable_python(user: int) -> str | None:
    """An interpreter that an ordinary user may run and that can read this checkout (root's home is closed to it)."""
    environment = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    identity = {"user": user, "group": user, "extra_groups": []}
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        check = "import sys, pathlib; assert sys.version_info >= (3, 11); import sandbox.jail.values"
        try:
            done = subprocess.run([python, "-c", check], env=environment, cwd="/", capture_output=True, **identity)
        except OSError:
            continue
        if done.returncode == 0:
            return python
    return None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user; all other tests run as this ordinary user")
def test_it_works_as_an_ordinary_user() -> None:
    python = usable_python(12345)
    if python is None:
        pytest.skip("no Python 3.11 that an ordinary user may run and that can read this checkout")
    status, exploited, level = run_apart(GRADE_ONE, user=12345, python=python).split()
    assert (status, exploited) == ("pass", "True")
    assert level in ("L2", "L3")


def test_without_namespaces_it_is_l2() -> None:
    """As under a container's default profile: unshare, mount, setns and clone with namespace flags are denied."""
    deny = """
    import ctypes, errno, platform, struct
    from sandbox.jail.syscall_numbers import ARCHES
    from sandbox.jail import seccomp
    op = lambda code, k, t=0, f=0: struct.pack("=HBBI", code, t, f, k)
    calls = {"x86_64": (272, 165, 308, 56), "aarch64": (97, 40, 268, 220)}[platform.machine()]
    code = [op(0x20, 0)]
    for number in calls[:3]:
        code += [op(0x15, number, 0, 1), op(0x06, 0x00050001)]
    code += [op(0x15, 435, 0, 1), op(0x06, 0x00050000 | errno.ENOSYS)]
    code += [op(0x15, calls[3], 0, 3), op(0x20, 16), op(0x45, 0x7E020000, 0, 1), op(0x06, 0x00050001), op(0x06, 0x7FFF0000)]
    seccomp.set_no_new_privs()
    seccomp.load_filter(b"".join(code))
    """
    status, exploited, level = run_apart(textwrap.dedent(deny) + textwrap.dedent(GRADE_ONE)).split()
    assert (status, exploited, level) == ("pass", "True", "L2")


def test_it_works_off_the_main_thread_with_signals_ignored_and_strange_descriptors() -> None:
    """As inside a Ray worker: another thread, SIGCHLD ignored, no descriptors 0 to 2, many open files."""
    harsh = """
    import os, signal, sys, threading
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    out = os.dup(1)
    os.set_inheritable(out, True)
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(1500)]
    for one in held[::2]:
        os.set_inheritable(one, True)
    for one in (0, 1, 2):
        os.close(one)
    from sandbox.grading.grader import Grader
    from vgrout.records import Case, GradeJob, Mode, Problem
    problem = Problem(1, (), "solve", "", "", (Case((), {"n": 2}, 5),))
    code = "```python\\nclass Solution:\\n    def solve(self, n):\\n        return n * n + 1\\n```"
    def work():
        with Grader("L2") as grader:
            for _ in range(3):
                status = grader.grade(GradeJob("r", problem, Mode.STDOUT_MARKER, code))[1].status
                os.write(out, (status + " ").encode())
    threading.excepthook = lambda found: os.write(out, repr(found.exc_value).encode())
    threads = [threading.Thread(target=work) for _ in range(2)]
    [one.start() for one in threads]
    [one.join() for one in threads]
    os._exit(0)  # Python would fail to flush the closed descriptor 1
    """
    assert run_apart(harsh).split() == ["pass"] * 6


def zygote_of(grader: Grader) -> int:
    process = grader._runner._process
    assert process is not None
    return process.pid


def test_a_killed_zygote_is_retried_and_never_wrong() -> None:
    with Grader("L2") as grader:
        os.kill(zygote_of(grader), signal.SIGKILL)
        reward, audit = grade(grader, squares(), RIGHT)
        assert (reward.value, audit.status) == (3.5, Status.PASS)
        assert len(audit.notes["infra"]) == 1


def test_a_program_killed_from_outside_is_run_again_and_never_wrong() -> None:
    code = "import time\nclass Solution:\n    def solve(self, n):\n        time.sleep(0.05)\n        return n * n + 1\n"
    with Grader("L2") as grader:
        children = Path(f"/proc/{zygote_of(grader)}/task/{zygote_of(grader)}/children")
        killer = threading.Thread(target=lambda: os.kill(int(wait_for(lambda: children.read_text().split())[0]), signal.SIGKILL))
        killer.start()
        reward, audit = grade(grader, squares(), code)
        killer.join()
        assert (reward.value, audit.status) == (3.5, Status.PASS) and len(audit.notes["killed"]) == 1


def test_a_program_that_kills_itself_is_run_twice_and_then_judged() -> None:
    code = "import os\nclass Solution:\n    def solve(self, n):\n        os.kill(os.getpid(), 9)\n"
    with Grader("L2") as grader:
        reward, audit = grade(grader, squares(), code)
        assert (reward.value, audit.status, len(audit.notes["killed"])) == (0.5, Status.OOM, 1)


def test_repeated_infrastructure_failure_has_no_reward(monkeypatch: pytest.MonkeyPatch) -> None:
    with Grader("L2") as grader:
        restart = grader._restart

        def restart_and_kill() -> None:
            restart()
            os.kill(zygote_of(grader), signal.SIGKILL)

        monkeypatch.setattr(grader, "_restart", restart_and_kill)
        os.kill(zygote_of(grader), signal.SIGKILL)
        reward, audit = grade(grader, squares(), RIGHT)
        assert reward.value is None
        assert audit.status is Status.INFRA_ERROR
        assert not (audit.correct or audit.channel or audit.exploited)
        assert len(audit.notes["infra"]) == 2


def test_a_restart_never_weakens_the_jail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A level that is gone after a restart is an infrastructure error, not a verdict at a weaker level under the old name."""
    with Grader("auto") as grader:
        proved = grader.level

        def fails_now(level: Level, *setting) -> tuple[None, canaries.Proof]:
            asked.append(level.name)
            return None, canaries.Proof(level, (), {"start": "it does not start any more"})

        asked: list[str] = []
        monkeypatch.setattr(canaries, "try_level", fails_now)
        grader._runner.close()
        reward, audit = grade(grader, squares(), RIGHT)
    assert asked == [proved]
    assert (reward.value, audit.status, audit.jail) == (None, Status.INFRA_ERROR, proved)
    assert "does not start any more" in audit.notes["infra"][1]


@pytest.mark.parametrize("choice", ["L2", pytest.param("L3", marks=needs_bubblewrap)])
def test_when_the_trusted_side_is_killed_everything_dies(choice: str, tmp_path: Path) -> None:
    """SIGKILL to the process that holds the Grader, in the middle of a hanging program: zygote and program are gone soon."""
    code = f"""
        import sys, threading, time
        from sandbox.grading.grader import Grader
        from vgrout.records import Case, GradeJob, Mode, Problem
        grader = Grader({choice!r}, 300.0)
        problem = Problem(1, (), "solve", "", "", (Case((), {{"n": 2}}, 5),))
        print(grader._runner._process.pid, grader._runner.folder, flush=True)
        grader.grade(GradeJob("r", problem, Mode.GT_ONLY, {("```python" + chr(10) + HANG + "```")!r}))
    """
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    holder = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], env=environment, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    pid, folder = holder.stdout.readline().split()
    zygote, scratch = int(pid), Path(folder)
    family = wait_for(lambda: family_of(zygote) if len(family_of(zygote)) >= 2 else None)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert wait_for(lambda: not any(Path(f"/proc/{pid}").exists() and not is_zombie(pid) for pid in family))
    assert list(tmp_path.iterdir()) == []
    left = [scratch, *scratch.rglob("*")] if scratch.exists() else []
    assert len(left) == (0 if choice == "L2" else 1), left  # inside bubblewrap the folder is a mount point and stays, empty
    shutil.rmtree(scratch, ignore_errors=True)


def wait_for(ready, limit_s: float = 20.0):
    """Poll until `ready` answers; the answer, or None at the limit."""
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        if answer := ready():
            return answer
        threading.Event().wait(0.02)
    return None


def stat_of(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ["gone", "0"]


def is_zombie(pid: int) -> bool:
    return stat_of(pid)[0] in ("Z", "gone")


def family_of(root: int) -> set[int]:
    parents = {int(folder.name): int(stat_of(int(folder.name))[1]) for folder in Path("/proc").iterdir() if folder.name.isdigit()}
    family = {root}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return family


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_close_leaves_nothing_behind() -> None:
    before = open_descriptors()
    runner = prove("L2", Limits())
    folder, zygote = runner.folder, runner._process
    assert folder.is_dir() and zygote is not None
    runner.close()
    runner.close()
    assert not folder.exists()
    assert is_zombie(zygote.pid)
    assert open_descriptors() == before


def test_a_closed_grader_says_infra_error_and_recovers() -> None:
    """A runner that is gone is the grader's own fault: the job is retried on a fresh one."""
    grader = Grader("L2")
    grader.close()
    with grader:
        assert grader.grade(GradeJob("r", squares(), Mode.GT_ONLY, f"```python\n{RIGHT}```"))[1].status is Status.PASS
