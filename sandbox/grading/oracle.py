"""The strict oracle's judgement: compare, in the trusted process, what the child wrote with what was expected.

Invariant: the result is read after the program's death and all of it is compared, so no verdict can be seen from inside a
program. The verdict is `pass` only if the file holds exactly READY, one VALUE per test in order, facts, END and then nothing,
and each value equals the expected one as plain Python values do (exact floats; True == 1). The first test that fails gives the
verdict; a file that breaks this protocol is `wrong`, one that breaks off is `no_result`, and none of them is an infra error.
"""

from contextlib import suppress
from typing import BinaryIO

from sandbox.jail.child import COMPILED, JAILED, REFUSED
from sandbox.jail.frames import MAX_FACT, BadStream, Frame, Kind, read_frames
from sandbox.jail.supervision import End, Ended
from sandbox.jail.values import Match, compare, encode
from vgrout.records import Case, Status

# Equal values may differ in the length of their encodings, at most in the ratio of a 1024-bit integer to the float that
# equals it. Anything longer is wrong unread, so that the trusted side holds no more than a few times the expected value.
LONGEST_EQUAL = 16
MAX_REASON = 100
MAX_FACTS = 8


class Judge:
    """Judges one run; `read` is what Runner.run calls with the result file."""

    def __init__(self, cases: tuple[Case, ...], token: bytes) -> None:
        if not cases:
            raise ValueError("a problem without tests: any program would pass it")
        self._cases, self._token = cases, token
        self._next = 0  # the test that the next answer is for
        self._ready = self._ended = False
        self._failure: tuple[Status, str] | None = None  # of the first test that failed
        self.facts: dict[str, bool] = {}
        self.passed = 0
        self.type_mismatch = False

    @property
    def error(self) -> str:
        """What went wrong, in a word; empty for a plain wrong answer."""
        return self._failure[1] if self._failure else ""

    def read(self, file: BinaryIO) -> None:
        """Compare everything in the result file. Raises nothing, whatever the file holds."""
        try:
            for frame in read_frames(file):
                self._take(frame)
        except BadStream as error:
            self._fail(Status.WRONG, str(error))

    def status(self, ended: Ended) -> Status:
        """The verdict, once the run has ended and its result has been read."""
        if not compiles(ended):
            self._fail(Status.EXCEPTION, _compiler_error(ended))
        if self._failure is not None:
            return self._failure[0]
        if ended.end is End.TIMEOUT:
            return Status.TIMEOUT
        if ended.end is End.OUTPUT_LIMIT:
            return Status.OUTPUT_LIMIT
        if ended.code == -9:  # neither the deadline nor this side: the kernel's out-of-memory killer
            return Status.OOM
        whole = self._ready and self._ended and self.passed == self._next == len(self._cases)
        return Status.PASS if whole else Status.NO_RESULT

    def _take(self, frame: Frame) -> None:
        kind = frame.kind
        if self._ended:
            raise BadStream("frames after the end")
        if kind is Kind.END and frame.size == 0 and self._next in (len(self._cases), 0):
            self._ended = True
        elif kind is Kind.FACT:
            _take_fact(frame, self._token, self.facts)
        elif not self._ready:
            self._start(frame)
        elif frame.index == self._next < len(self._cases):
            self._next += 1
            self._answer(frame, self._cases[frame.index])
        else:
            raise BadStream("a frame out of order")

    def _start(self, frame: Frame) -> None:
        """Before the first answer: the code was run, or raised."""
        if frame.kind is Kind.READY:
            self._ready = True
        elif frame.kind in (Kind.RAISED, Kind.OUT_OF_MEMORY):
            self._raised(frame)
        else:
            raise BadStream("an answer before the start")

    def _answer(self, frame: Frame, case: Case) -> None:
        if frame.kind in (Kind.RAISED, Kind.OUT_OF_MEMORY):
            return self._raised(frame)
        if frame.kind is Kind.UNPLAIN:
            return self._fail(Status.WRONG, frame.payload(MAX_REASON).decode("utf-8", "replace"))
        if frame.kind is not Kind.VALUE:
            raise BadStream("a frame out of order")
        wanted = encode(case.expected)
        if frame.size > LONGEST_EQUAL * len(wanted):
            return self._fail(Status.WRONG, "an output far longer than the expected one")
        match = compare(frame.payload(frame.size), case.expected, wanted)
        if match is Match.DIFFERENT:
            return self._fail(Status.WRONG, "")
        self.type_mismatch = self.type_mismatch or match is Match.EQUAL
        self.passed += 1

    def _raised(self, frame: Frame) -> None:
        if frame.kind is Kind.OUT_OF_MEMORY:
            self._fail(Status.OOM, "MemoryError")
        else:
            self._fail(Status.EXCEPTION, frame.payload(MAX_REASON).decode("utf-8", "replace"))

    def _fail(self, status: Status, error: str) -> None:
        self._failure = self._failure or (status, error)


def compiles(ended: Ended) -> bool:
    """Whether the child said so before it ran the code."""
    return ended.status.startswith(JAILED + COMPILED)


def _compiler_error(ended: Ended) -> str:
    return ended.status.removeprefix(JAILED).removeprefix(REFUSED).decode("utf-8", "replace") or "the compiler did not end"


def _take_fact(frame: Frame, token: bytes, facts: dict[str, bool]) -> None:
    """Note the name and value of a fact that carries the run's token. Raises BadStream for any other frame."""
    payload = frame.payload(MAX_FACT) if frame.kind is Kind.FACT else b""
    name, _, value = payload.removeprefix(token).partition(b"=")
    if not payload.startswith(token) or value not in (b"0", b"1") or not name.isalpha() or len(facts) == MAX_FACTS:
        raise BadStream("no fact of this run")
    facts.setdefault(name.decode("ascii", "replace"), value == b"1")


class Facts:
    """Collects the facts of a run that answers no test; anything else in the file ends the collection."""

    def __init__(self, token: bytes) -> None:
        self._token = token
        self.seen: dict[str, bool] = {}

    def read(self, file: BinaryIO) -> None:
        """Take the facts in a result file."""
        with suppress(BadStream):
            for frame in read_frames(file):
                if frame.kind is Kind.END:
                    return
                _take_fact(frame, self._token, self.seen)
