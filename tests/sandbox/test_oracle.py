"""Only one result file is a pass: ready, each right value once and in order, end, and nothing after."""

import io
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sandbox.grading.oracle import MAX_FACTS, Facts, Judge
from sandbox.jail.frames import MAX_FACT, Kind, pack
from sandbox.jail.supervision import End, Ended
from sandbox.jail.values import encode
from vgrout.records import Case, Status

TOKEN = b"0123456789abcdef"
CASES = (Case((), {}, 10), Case((), {}, 20))
RIGHT = [
    (Kind.READY, 0, b""),
    (Kind.VALUE, 0, encode(10)),
    (Kind.VALUE, 1, encode(20)),
    (Kind.END, 0, b""),
]
FACT = (Kind.FACT, 0, TOKEN + b"flag=1")
frames = st.tuples(
    st.sampled_from(Kind), st.integers(0, 2), st.sampled_from([b"", encode(10), encode(20), encode(0), b"?", FACT[2]])
)


def file_of(sent: list[tuple[Kind, int, bytes]], tail: bytes = b"") -> io.BytesIO:
    return io.BytesIO(b"".join(pack(*one) for one in sent) + tail)


def verdict(
    sent: list[tuple[Kind, int, bytes]], tail: bytes = b"", end: End = End.EXITED, code: int = 0, said: bytes = b"JC"
) -> Status:
    judge = Judge(CASES, TOKEN)
    judge.read(file_of(sent, tail))
    return judge.status(Ended(end, code, 1.0, said))


def test_the_one_right_file_passes() -> None:
    assert verdict(RIGHT) is Status.PASS
    assert verdict([*RIGHT[:3], FACT, RIGHT[3]]) is Status.PASS


@given(st.lists(frames, max_size=8))
def test_no_other_file_passes(sent: list[tuple[Kind, int, bytes]]) -> None:
    """All of the file may be forged."""
    without_facts = [one for one in sent if one[0] is not Kind.FACT or one[2] != FACT[2]]
    right = [
        (kind, index if kind is Kind.VALUE else 0, b"" if kind in (Kind.READY, Kind.END) else data)
        for kind, index, data in without_facts
    ]
    may_pass = right == RIGHT and sent[-1][0] is Kind.END
    assert (verdict(sent) is Status.PASS) == may_pass
    assert verdict(sent) is not Status.INFRA_ERROR


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_wrong_or_no_result(data: bytes) -> None:
    assert verdict([], tail=data) in (Status.WRONG, Status.NO_RESULT, Status.EXCEPTION, Status.OOM)


@given(st.integers(0, 3), st.sampled_from(["drop", "double", "swap"]))
@example(0, "double")
def test_a_damaged_right_file_does_not_pass(place: int, damage: str) -> None:
    sent = list(RIGHT)
    if damage == "drop":
        del sent[place]
    elif damage == "double":
        sent.insert(place, sent[place])
    else:
        sent[place - 1], sent[place] = sent[place], sent[place - 1]
    assert verdict(sent) is not Status.PASS


def test_a_broken_protocol_is_wrong_and_a_file_that_breaks_off_is_no_result() -> None:
    for broken in (
        verdict(RIGHT, tail=b"x"),
        verdict(RIGHT, tail=pack(Kind.END)),
        verdict(RIGHT[:-1], tail=pack(Kind.END)[:-1]),
        verdict(RIGHT[1:]),
        verdict([RIGHT[0], RIGHT[2], RIGHT[1], RIGHT[3]]),
        verdict([RIGHT[0], (Kind.FACT, 0, b"0" * 16 + b"flag=1"), *RIGHT[1:]]),
    ):
        assert broken is Status.WRONG
    assert verdict(RIGHT[:-1]) is verdict(RIGHT[:1]) is verdict([]) is Status.NO_RESULT


@pytest.mark.parametrize("expected", [math.nan, [math.nan], {"k": (1, -math.nan)}])
def test_nan_does_not_match_nan_though_its_bytes_do(expected: Any) -> None:
    """As `==` has it between two values; a problem file with such a right side is refused when it is loaded."""
    judge = Judge((Case((), {}, expected),), TOKEN)
    judge.read(file_of([(Kind.READY, 0, b""), (Kind.VALUE, 0, encode(expected)), (Kind.END, 0, b"")]))
    assert judge.status(Ended(End.EXITED, 0, 1.0, b"JC")) is Status.WRONG


def test_the_first_test_that_fails_gives_the_verdict_and_all_are_compared() -> None:
    raised, wrong = (Kind.RAISED, 0, b"KeyError"), (Kind.VALUE, 1, encode(0))
    for first, second, status, passed in (
        (raised, RIGHT[2], Status.EXCEPTION, 1),
        (raised, wrong, Status.EXCEPTION, 0),
        ((Kind.VALUE, 0, encode(0)), RIGHT[2], Status.WRONG, 1),
        ((Kind.OUT_OF_MEMORY, 0, b""), wrong, Status.OOM, 0),
        ((Kind.UNPLAIN, 0, b"not plain"), RIGHT[2], Status.WRONG, 1),
        (RIGHT[1], wrong, Status.WRONG, 1),
    ):
        judge = Judge(CASES, TOKEN)
        judge.read(file_of([RIGHT[0], first, second, RIGHT[3]]))
        assert (judge.status(Ended(End.EXITED, 0, 1.0, b"JC")), judge.passed) == (status, passed)


def test_how_the_run_ended_decides_where_the_file_does_not() -> None:
    for end, code, status in (
        (End.TIMEOUT, -9, Status.TIMEOUT),
        (End.OUTPUT_LIMIT, -9, Status.OUTPUT_LIMIT),
        (End.SIGNALLED, -9, Status.OOM),
        (End.SIGNALLED, -11, Status.NO_RESULT),
        (End.EXITED, 0, Status.NO_RESULT),
    ):
        assert verdict(RIGHT[:2], end=end, code=code) is status


def test_code_that_does_not_compile_is_an_exception_whatever_the_file_says() -> None:
    assert verdict(RIGHT, said=b"JSSyntaxError") is verdict(RIGHT, said=b"J") is Status.EXCEPTION


def test_facts_are_few_small_and_carry_the_token() -> None:
    many = [(Kind.FACT, 0, TOKEN + b"f" * size + b"=1") for size in range(1, 30)]
    for sent, seen in (
        ([FACT, (Kind.END, 0, b"")], {"flag": True}),
        ([(Kind.FACT, 0, TOKEN + b"flag=0"), FACT], {"flag": False}),
        ([(Kind.FACT, 0, b"0" * 16 + b"flag=1")], {}),
        ([(Kind.FACT, 0, TOKEN + b"x" * MAX_FACT + b"=1")], {}),
        ([(Kind.FACT, 0, TOKEN + b"a.b=1")], {}),
        ([RIGHT[0], FACT], {}),
    ):
        facts = Facts(TOKEN)
        facts.read(file_of(sent))
        assert facts.seen == seen
    facts = Facts(TOKEN)
    facts.read(file_of(many))
    assert len(facts.seen) == MAX_FACTS


def test_a_problem_without_tests_has_no_judge() -> None:
    with pytest.raises(ValueError, match="without tests"):
        Judge((), TOKEN)
