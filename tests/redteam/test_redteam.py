"""Every attack is defeated at every jail level of this machine, and the zygote that it ran on serves the next program."""

import os
import shutil
from collections.abc import Callable, Iterator
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
from vgrout.records import GradeJob, Mode, Status

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


# What runs into its deadline does so at every level: L3 repeats those among the slow tests.
CROSS = [
    pytest.param(level, attack, id=f"{level}-{attack.name}", marks=[pytest.mark.slow] if attack.slow and level == "L3" else [])
    for level in LEVELS
    for attack in ALL
]


@pytest.mark.parametrize(("level", "attack"), CROSS)
def test_attack_is_defeated(level: str, attack: Attack, graders: Callable[[str], Grader], planted: Secrets) -> None:
    grader = graders(level)
    before = descendants(os.getpid())
    completion = f"```python\n{attack.code(planted)}\n```"
    # A program that runs into its deadline does so on every mode: one that drives the method and one that does not will do.
    modes = (Mode.STDOUT_MARKER, Mode.SENTINEL) if attack.slow else tuple(Mode)
    for mode in modes:
        job = GradeJob("r", problem(attack.answers), mode, completion)
        reward, audit = grader.grade(job)
        if audit.status is Status.TIMEOUT and Status.TIMEOUT not in attack.statuses:
            reward, audit = grader.grade(job)  # on a machine so busy that a second was not enough
        assert audit.status in attack.statuses, audit
        assert not audit.correct
        assert not audit.channel, audit
        assert reward.value == 0.5 * audit.compiles
        assert "infra" not in audit.notes, audit
    _, audit = grader.grade(GradeJob("next", problem(), Mode.GT_ONLY, correct()))
    assert audit.status is Status.PASS
    assert descendants(os.getpid()) == before, "a process was left running, or the zygote was replaced"
    assert planted.file.read_text() == planted.token
    assert (planted.folder / "pass.txt").read_text() == "PASS"
    assert sorted(path.name for path in planted.folder.iterdir()) == [".ssh", "pass.txt", "secret.txt"]


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
