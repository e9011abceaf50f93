"""Every attack is defeated at every jail level of this machine, and the zygote that it ran on serves the next program."""

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from attack import (
    ANSWERS,
    BREACH,
    Attack,
    Naive,
    Secrets,
    alarm_grader_ends,
    correct,
    exit_code_grader,
    naive_result_file,
    nonce_grader,
    problem,
    reach,
)
from attacks_channels import CHANNELS
from attacks_forgery import FORGERY
from attacks_host import HOST
from attacks_liveness import LIVENESS
from attacks_parser import PARSER
from listed import LISTED
from processes import descendants

from sandbox.grading.grader import Grader
from sandbox.jail.canaries import prove
from sandbox.jail.levels import Limits
from sandbox.jail.program import Program, Task
from vgrout.errors import UserError
from vgrout.records import Audit, GradeJob, Mode, Reward, Status

ALL = [*FORGERY, *PARSER, *HOST, *LIVENESS, *CHANNELS]
DEADLINE_S = 1.0
LEVELS = ("L2", "L3")


@pytest.fixture(scope="module")
def planted() -> Iterator[Secrets]:
    secrets = Secrets.plant()
    (secrets.folder / "pass.txt").write_text("PASS")
    (secrets.folder / "pass.txt").chmod(0o666)
    os.environ["VGROUT_TEST_SECRET"] = secrets.token  # the zygote is started below and must not inherit it
    held = [os.open(secrets.file, os.O_RDONLY) for _ in range(20)]  # nor these, as Ray and CUDA leave them open
    for one in held:
        os.set_inheritable(one, True)
    yield secrets
    for one in held:
        os.close(one)
    del os.environ["VGROUT_TEST_SECRET"]
    shutil.rmtree(secrets.folder)


@pytest.fixture(scope="module")
def graders(planted: Secrets) -> Iterator[Callable[[str], Grader]]:
    """One grader per level for all attacks, so that each attack meets a zygote that has seen the others."""
    made: dict[str, Grader] = {}

    def at(level: str) -> Grader:
        if level not in made:
            try:
                made[level] = Grader(level, DEADLINE_S)
            except UserError as error:
                pytest.skip(f"no {level} here: {error.found}")
        return made[level]

    yield at
    for grader in made.values():
        grader.close()


def check(grade: Callable[[], tuple[Reward, Audit]], attack: Attack) -> Audit:
    """One grading of an attack, which earns nothing."""
    reward, audit = grade()
    if audit.status is Status.TIMEOUT and Status.TIMEOUT not in attack.statuses:
        reward, audit = grade()  # on a machine so busy that a second was not enough
    assert audit.status in attack.statuses, (attack.name, audit)
    assert not audit.correct
    assert not audit.channel, (attack.name, audit)
    assert reward.value == 0.5 * audit.compiles
    assert "infra" not in audit.notes, (attack.name, audit)
    return audit


def check_nothing_was_touched(planted: Secrets) -> None:
    assert planted.file.read_text() == planted.token
    assert (planted.folder / "pass.txt").read_text() == "PASS"
    assert sorted(path.name for path in planted.folder.iterdir()) == [".ssh", "pass.txt", "secret.txt"]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("attack", [one for one in ALL if not one.slow], ids=lambda attack: attack.name)
def test_attack_is_defeated(level: str, attack: Attack, graders: Callable[[str], Grader], planted: Secrets) -> None:
    grader = graders(level)
    before = descendants(os.getpid())
    for mode in Mode:
        job = GradeJob("r", problem(attack.answers), mode, f"```python\n{attack.code(planted)}\n```")
        check(lambda job=job: grader.grade(job), attack)
    _, audit = grader.grade(GradeJob("next", problem(), Mode.GT_ONLY, correct()))
    assert audit.status is Status.PASS
    assert descendants(os.getpid()) == before, "a process was left running, or the zygote was replaced"
    check_nothing_was_touched(planted)


# Both runs of a run_tests problem are hostile: the grading as a whole has the one deadline.
SPIN = "        while True:\n            pass\n"
SPINS_TWICE = Attack(
    "spins_in_both_runs",
    f"class Solution:\n    def solve(self, n):\n{SPIN}    def run_tests(self):\n{SPIN}",
    statuses=frozenset({Status.TIMEOUT}),
)
SLEEPS_TWICE = replace(
    SPINS_TWICE, name="sleeps_in_both_runs", body=SPINS_TWICE.body.replace("pass", "__import__('time').sleep(9)")
)
# Each takes its deadline at every level, so they are graded side by side.
WAITING = [
    *((attack, Mode.STDOUT_MARKER) for attack in ALL if attack.slow),
    (SPINS_TWICE, Mode.RUN_TESTS),
    (SLEEPS_TWICE, Mode.RUN_TESTS),
]
LONG_DEADLINE_S = 2.0


@pytest.mark.parametrize("level", LEVELS)
def test_attacks_on_the_deadline_are_defeated(level: str, planted: Secrets) -> None:
    """None of them holds a grader for more than one and a half deadlines, and the programs after them are judged."""
    with ExitStack() as stack:
        try:
            made = [stack.enter_context(Grader(level, LONG_DEADLINE_S)) for _ in range(4)]
        except UserError as error:
            pytest.skip(f"no {level} here: {error.found}")
        before = descendants(os.getpid())

        def part(place: int) -> dict[str, float]:
            taken = {}
            for attack, mode in WAITING[place :: len(made)]:
                job = GradeJob("r", problem(attack.answers), mode, f"```python\n{attack.code(planted)}\n```")
                taken[attack.name] = check(lambda job=job: made[place].grade(job), attack).ms
                _, audit = made[place].grade(GradeJob("next", problem(), Mode.GT_ONLY, correct()))
                assert audit.status is Status.PASS, (attack.name, audit)
            return taken

        with ThreadPoolExecutor(len(made)) as pool:
            taken = {name: ms for one in pool.map(part, range(len(made))) for name, ms in one.items()}
        assert descendants(os.getpid()) == before, "a process was left running, or a zygote was replaced"
    check_nothing_was_touched(planted)
    assert len(taken) == len(WAITING)
    print(f"longest grading: {max(taken.values()):.0f} ms at a deadline of {LONG_DEADLINE_S} s")
    assert {name: ms for name, ms in taken.items() if ms > 1500 * LONG_DEADLINE_S} == {}


@pytest.fixture(scope="module", params=LEVELS)
def runner(request: pytest.FixtureRequest, planted: Secrets) -> Iterator:
    try:
        made = prove(request.param, Limits(deadline_s=DEADLINE_S))
    except UserError as error:
        pytest.skip(f"no {request.param} here: {error.found}")
    yield made
    made.close()


@pytest.mark.parametrize("attack", [*HOST, *FORGERY, *CHANNELS], ids=lambda attack: attack.name)
def test_attack_reaches_nothing(attack: Attack, runner, planted: Secrets) -> None:
    """What the program itself says that it got hold of."""
    setup = compile("", "<setup>", "exec")
    program = Program(Task.SOLVE, setup, (attack.code(planted),), "solve", ())
    said = runner.run(program, lambda _: None).stdout.decode(errors="replace")
    assert BREACH not in said
    assert planted.token not in said
    assert list(runner.folder.iterdir()) == []


@pytest.mark.parametrize("attack", [one for one in ALL if one.naive is not Naive.NOT_RUN], ids=lambda attack: attack.name)
def test_attack_beats_a_naive_grader(attack: Attack, planted: Secrets, tmp_path: Path) -> None:
    """The control: these programs do what they claim where there is no jail, so the tests above are able to fail."""
    extra = {"VGROUT_TEST_SECRET": planted.token, "HOME": str(planted.folder)}
    if attack.naive is Naive.REACH:
        assert BREACH in reach(attack.code(planted), tmp_path, extra)
        return
    if attack.naive is Naive.ALARM:
        assert not alarm_grader_ends(attack.code(planted), tmp_path, 1.5)
        return
    if attack.naive is Naive.FILE:
        assert "PASS" in naive_result_file(attack.code(planted), tmp_path)
        return
    judge = exit_code_grader if attack.naive is Naive.EXIT_CODE else nonce_grader
    passed, _ = judge(attack.code(planted), tmp_path, extra)
    assert passed


def test_naive_graders_can_say_no(tmp_path: Path) -> None:
    wrong = "class Solution:\n    def solve(self, n):\n        return 0\n"
    right = f"class Solution:\n    def solve(self, n):\n        return {ANSWERS!r}[n]\n"
    for judge in (exit_code_grader, nonce_grader):
        assert not judge(wrong, tmp_path)[0]
        assert judge(right, tmp_path)[0]
    assert naive_result_file(wrong, tmp_path) == ""
    assert alarm_grader_ends("class Solution:\n    def solve(self, n):\n        while True:\n            pass\n", tmp_path, 60.0)


@pytest.mark.parametrize(("expected", "returned"), [(1, "True"), (True, "1"), (2, "2.0"), (2.0, "2"), ([1, 0], "[True, False]")])
def test_true_for_one_and_a_whole_float_pass_as_in_python_and_are_logged(expected, returned: str) -> None:
    code = f"class Solution:\n    def solve(self, n):\n        return {returned}\n"
    with Grader("L2", DEADLINE_S) as grader:
        _, audit = grader.grade(GradeJob("r", problem(((1, expected),)), Mode.GT_ONLY, f"```python\n{code}```"))
    assert (audit.status, audit.notes["type_mismatch"]) == (Status.PASS, True)


def test_the_red_team_is_whole() -> None:
    names = [attack.name for attack in ALL]
    assert len(names) == len(set(names)) >= len(LISTED) >= 63
    tests = "".join(path.read_text() for path in Path(__file__).parents[1].rglob("test_*.py"))
    for listed, stands_for_it in LISTED.items():
        assert stands_for_it, listed
        for one in stands_for_it:
            test = one.removeprefix("test: ")
            assert f"def {test}(" in tests if test != one else one in names, (listed, one)
