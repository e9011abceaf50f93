"""Only one stream of frames is a pass: compiled, ready, each right value once and in order, end, and nothing after."""

import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sandbox.grading.oracle import Judge
from sandbox.jail.frames import Kind, pack
from sandbox.jail.runner import InfraError
from sandbox.jail.supervision import End, Ended
from sandbox.jail.values import encode
from vgrout.records import Case, Status

CASES = (Case((), {}, 10), Case((), {}, 20))
RIGHT = [
    (Kind.COMPILED, 0, b""),
    (Kind.READY, 0, b""),
    (Kind.VALUE, 0, encode(10)),
    (Kind.VALUE, 1, encode(20)),
    (Kind.END, 0, b""),
]
frames = st.tuples(st.sampled_from(Kind), st.integers(0, 2), st.sampled_from([b"", encode(10), encode(20), encode(0), b"?"]))


def verdict(sent: list[tuple[Kind, int, bytes]], tail: bytes = b"", end: End = End.EXITED, code: int = 0) -> Status:
    judge = Judge(CASES)
    for one in sent:
        if judge.feed(pack(*one)):
            break
    else:
        judge.feed(tail)
    return judge.status(Ended(end, code, b"", 1.0, 0))


def test_the_one_right_stream_passes() -> None:
    assert verdict(RIGHT) is Status.PASS


@given(st.lists(frames, max_size=8))
def test_no_other_stream_passes(rest: list[tuple[Kind, int, bytes]]) -> None:
    """After the first frame, which the child sends before the program runs, everything may be forged."""
    sent = [RIGHT[0], *rest]
    assert (verdict(sent) is Status.PASS) == (sent == RIGHT)
    assert verdict(sent) is not Status.INFRA_ERROR


@given(st.integers(0, 4), st.sampled_from(["drop", "double", "swap"]))
@example(0, "double")
def test_a_damaged_right_stream_does_not_pass(place: int, damage: str) -> None:
    sent = list(RIGHT)
    if damage == "drop":
        del sent[place]
    elif damage == "double":
        sent.insert(place, sent[place])
    else:
        sent[place - 1], sent[place] = sent[place], sent[place - 1]
    try:
        assert verdict(sent) is not Status.PASS
    except InfraError:
        assert place == 0 and damage == "drop"


def test_what_follows_the_end_or_breaks_off_is_no_result() -> None:
    assert verdict(RIGHT, tail=b"x") is Status.NO_RESULT
    assert verdict(RIGHT[:-1]) is Status.NO_RESULT
    assert verdict(RIGHT[:-1], tail=pack(Kind.END)[:-1]) is Status.NO_RESULT


@pytest.mark.parametrize("expected", [math.nan, [math.nan], {"k": (1, -math.nan)}])
def test_nan_does_not_match_nan_though_its_bytes_do(expected: Any) -> None:
    """As `==` has it between two values; a problem file with such a right side is refused when it is loaded."""
    judge = Judge((Case((), {}, expected),))
    for kind, payload in ((Kind.COMPILED, b""), (Kind.READY, b""), (Kind.VALUE, encode(expected))):
        judge.feed(pack(kind, 0, payload))
    assert judge.status(Ended(End.STOPPED, -9, b"", 1.0, 0)) is Status.WRONG


def test_how_the_run_ended_decides_where_the_stream_does_not() -> None:
    for end, code, status in (
        (End.TIMEOUT, -9, Status.TIMEOUT),
        (End.OUTPUT_LIMIT, -9, Status.OUTPUT_LIMIT),
        (End.SIGNALLED, -9, Status.OOM),
        (End.SIGNALLED, -11, Status.NO_RESULT),
        (End.EXITED, 0, Status.NO_RESULT),
    ):
        assert verdict(RIGHT[:3], end=end, code=code) is status


def test_a_child_that_never_looked_at_the_code_is_the_graders_fault() -> None:
    with pytest.raises(InfraError):
        verdict([])
    with pytest.raises(InfraError, match="jail could not be put on: why"):
        verdict([(Kind.BROKEN, 0, b"why")])
    assert verdict([RIGHT[0], (Kind.BROKEN, 0, b"why")]) is Status.NO_RESULT


def test_a_problem_without_tests_has_no_judge() -> None:
    with pytest.raises(ValueError, match="without tests"):
        Judge(())
