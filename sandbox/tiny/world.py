"""A world of problems: its operations in words and in Python, how a solution is put together, and how its problems are worded.

Invariant: a problem asks for one combination of an aggregate, a mapping and a filter; `code` is a pure expression, and a whole
solution is short. A *hard* operation is one that the world's demonstrations mostly get wrong (sandbox/tiny/demos.py), so that
it is to the small base model what a hard problem is to a large one.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from vgrout.rows import Row


@dataclass(frozen=True)
class Operation:
    """One word of a world's language. An empty `text` or `code` leaves its part of the problem out."""

    text: str
    code: str
    hard: bool = False


@dataclass(frozen=True)
class Combination:
    """What one problem asks for: `aggregate` of `mapping` of the values that `keep` lets through."""

    aggregate: Operation
    mapping: Operation
    keep: Operation

    @property
    def key(self) -> str:
        """Identity of the combination in words; two problems with the same key ask for the same thing."""
        return f"{self.aggregate.text}/{self.mapping.text or 'values'}/{self.keep.text or 'all'}"

    @property
    def hard(self) -> int:
        """Number of hard operations."""
        return self.aggregate.hard + self.mapping.hard + self.keep.hard


@dataclass(frozen=True)
class Size:
    """The base model of a world."""

    hidden: int
    inner: int
    layers: int
    head: int  # features of one of four heads


@dataclass(frozen=True)
class World:
    """`name` is part of every random stream. `body`: the lines of a method that does what a combination says, 8 spaces deep.

    `draw` makes one input, of which something is kept. `statement` and the `wordings` of pairs have {phrase} and {name}, and
    the published request to pass all tests exactly once.
    """

    name: str
    argument: str
    aggregates: tuple[Operation, ...]
    mappings: tuple[Operation, ...]
    filters: tuple[Operation, ...]
    probes: tuple[Any, ...]
    body: Callable[[Combination], str]
    phrase: Callable[[Combination], str]
    draw: Callable[[Combination, random.Random], Any]
    statement: str
    names: tuple[str, ...]
    wordings: tuple[str, ...]
    pair_names: tuple[str, ...]
    stubs: tuple[str, ...]
    size: Size
    varied: bool = False

    def combinations(self) -> list[Combination]:
        """Every combination with at most one hard operation, in a fixed order, and no two that behave alike.

        Of combinations that agree on all probes (absolute values of positive values, values of positive values) the first stays;
        with `varied`, one whose answer is the same for all probes is left out.
        """
        every = (Combination(a, m, f) for a in self.aggregates for m in self.mappings for f in self.filters)
        distinct: dict[str, Combination] = {}
        for combination in every:
            if combination.hard > 1:
                continue
            answers = [repr(self.answer(combination, value)) for value in self.probes]
            if len(set(answers)) > 1 or not self.varied:
                distinct.setdefault(repr(answers), combination)
        return list(distinct.values())

    def solution(self, name: str, lines: str) -> str:
        """A class Solution whose method `name` has the body `lines`."""
        return f"class Solution:\n    def {name}(self, {self.argument}):\n{lines}"

    def answer(self, combination: Combination, value: Any) -> Any:
        """What the combination's own solution returns. Raises ValueError or IndexError where nothing is kept."""
        return _method(self.solution("answer", self.body(combination)))(value)

    def wrong_kind(self, operation: Operation) -> str:
        """The operation's name in the table of what it is mistaken for."""
        return operation.text or f"no {(self.mappings if operation in self.mappings else self.filters)[1].text}"


@cache
def _method(source: str) -> Callable[[Any], Any]:
    scope: Row = {}
    exec(source, scope)
    return scope["Solution"]().answer
