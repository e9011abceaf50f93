"""The strict oracle's judgement: compare, in the trusted process, what the child says with what was expected.

Invariant: the verdict is `pass` only if the child sent exactly COMPILED, READY, one VALUE per test in order, END and then
nothing, and each value equals the expected one as plain Python values do (exact floats; True == 1). Anything else is another
status; a malformed stream is `no_result`.
"""

from typing import Any

from sandbox.jail.frames import BadStream, Frame, FrameReader, Kind
from sandbox.jail.runner import InfraError
from sandbox.jail.supervision import End, Ended
from sandbox.jail.values import BadValue, decode, encode
from vgrout.records import Case, Status

# Equal values may differ in the length of their encodings, at most in the ratio of a 1024-bit integer to the float that
# equals it. Anything longer is wrong unread, so that decoding costs no more than the expected value's own size.
LONGEST_EQUAL = 16


class Judge:
    """Judges one oracle run; `feed` is what Runner.run calls."""

    def __init__(self, cases: tuple[Case, ...]) -> None:
        if not cases:
            raise ValueError("a problem without tests: any program would pass it")
        self._cases = cases
        self._reader = FrameReader()
        self._ready = self._ended = False
        self._verdict: Status | None = None
        self.answered = False
        self.compiles = False
        self.passed = 0
        self.type_mismatch = False
        self.error = ""

    def feed(self, chunk: bytes) -> bool:
        """Take a piece of the result stream; True once the verdict is known. Raises InfraError if the jail did not close."""
        try:
            for frame in self._reader.feed(chunk):
                self._take(frame)
                if self._verdict is not None:
                    return True
        except BadStream as error:
            self._decide(Status.OUTPUT_LIMIT if error.too_long else Status.NO_RESULT, str(error))
        return self._verdict is not None

    def status(self, ended: Ended) -> Status:
        """The verdict, once the run has ended. Raises InfraError where the program was never run."""
        if self._verdict is not None:
            return self._verdict
        if ended.end is End.TIMEOUT:
            return Status.TIMEOUT
        if ended.end is End.OUTPUT_LIMIT:
            return Status.OUTPUT_LIMIT
        if not self.answered and ended.end is End.EXITED:
            raise InfraError("the child ended before it looked at the code")
        if ended.code == -9:  # neither the deadline nor this side: the kernel's out-of-memory killer
            return Status.OOM
        if self._ended and self._reader.clean and self.passed == len(self._cases):
            return Status.PASS
        return Status.NO_RESULT

    def _take(self, frame: Frame) -> None:
        if not self.answered:
            self._first(frame)
        elif self._ended:
            self._decide(Status.NO_RESULT, "frames after the end")
        elif frame.kind is Kind.OUT_OF_MEMORY:
            self._decide(Status.OOM, "MemoryError")
        elif frame.kind is Kind.RAISED:
            self._decide(Status.EXCEPTION, frame.payload.decode("utf-8", "replace")[:100])
        elif frame.kind is Kind.READY and not self._ready:
            self._ready = True
        elif frame.kind in (Kind.VALUE, Kind.UNPLAIN) and self._ready and frame.index == self.passed < len(self._cases):
            self._value(frame)
        elif frame.kind is Kind.END and self.passed == len(self._cases):
            self._ended = True
        else:
            self._decide(Status.NO_RESULT, "a frame out of order")

    def _first(self, frame: Frame) -> None:
        """The child speaks first, before any of the program has run."""
        self.answered = True
        if frame.kind is Kind.BROKEN:
            raise InfraError(f"the jail could not be put on: {frame.payload.decode('utf-8', 'replace')}")
        if frame.kind is Kind.COMPILED:
            self.compiles = True
        else:
            self._decide(Status.EXCEPTION, frame.payload.decode("utf-8", "replace")[:100])

    def _value(self, frame: Frame) -> None:
        expected = self._cases[self.passed].expected
        if frame.kind is Kind.UNPLAIN:
            return self._decide(Status.WRONG, frame.payload.decode("utf-8", "replace")[:100])
        wanted = encode(expected)
        if len(frame.payload) > LONGEST_EQUAL * len(wanted):
            return self._decide(Status.WRONG, "an output far longer than the expected one")
        if frame.payload != wanted or _may_hold_nan(wanted):
            try:
                value = decode(frame.payload)
            except BadValue as error:
                return self._decide(Status.NO_RESULT, str(error))
            if value != expected:
                return self._decide(Status.WRONG, "")
            self.type_mismatch = self.type_mismatch or not _same_types(value, expected)
        self.passed += 1

    def _decide(self, status: Status, error: str) -> None:
        self._verdict, self.error = status, error


def _may_hold_nan(encoded: bytes) -> bool:
    """Whether equal bytes may stand for unequal values: NaN equals nothing. True for other huge floats too: a decode more."""
    return b"D\x7f" in encoded or b"D\xff" in encoded


def _same_types(value: Any, expected: Any) -> bool:
    """Whether two equal plain values also have the same types all the way down (True against 1 has not)."""
    if type(value) is not type(expected):
        return False
    if type(value) in (list, tuple):
        return all(map(_same_types, value, expected))
    if type(value) is dict:
        value_types = [{type(key) for key in one} for one in (value, expected)]
        return value_types[0] == value_types[1] and all(_same_types(value[key], expected[key]) for key in value)
    if type(value) in (set, frozenset):
        return {type(item) for item in value} == {type(item) for item in expected}
    return True
