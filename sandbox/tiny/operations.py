"""The operations that tiny problems are made of: words for the statement and Python for the solution.

Invariant: `code` is a pure expression over `x` and `nums` (maps, filters) or over the list `v` (aggregates), short enough
that a whole solution is about 40 tokens. A *hard* operation is one that the tiny model's demonstrations mostly get
wrong (see tiny_demos), so that it is to the tiny base model what a hard problem is to a large one.
"""

from dataclasses import dataclass

from vgrout.rows import Row


@dataclass(frozen=True)
class Operation:
    """One word of the bank's language. An empty `text` or `code` leaves its part of the problem out."""

    text: str
    code: str
    hard: bool = False


@dataclass(frozen=True)
class Combination:
    """What one problem asks for: `aggregate` of `mapping` of the values of nums that `keep` lets through."""

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


AGGREGATES = (
    Operation("sum", "sum(v)"),
    Operation("maximum", "max(v)"),
    Operation("minimum", "min(v)"),
    Operation("list", "v"),
    Operation("reversed list", "v[::-1]"),
    Operation("sorted list", "sorted(v)"),
    Operation("range", "max(v) - min(v)", hard=True),
    Operation("alternating sum", "sum(v[::2]) - sum(v[1::2])", hard=True),
    Operation("median", "sorted(v)[len(v) // 2]", hard=True),
    Operation("mean", "sum(v) // len(v)", hard=True),
    Operation("endpoints", "[v[0], v[-1]]", hard=True),
)

MAPPINGS = (
    Operation("", "x"),
    Operation("doubles", "x * 2"),
    Operation("squares", "x * x"),
    Operation("negatives", "-x"),
    Operation("absolute values", "abs(x)"),
    *(Operation(f"increments by {k}", f"x + {k}") for k in (1, 2, 3)),
    *(Operation(f"decrements by {k}", f"x - {k}") for k in (1, 2, 3)),
    Operation("last digits", "abs(x) % 10", hard=True),
    Operation("halves", "x // 2", hard=True),
    Operation("complements", "~x", hard=True),
    Operation("cubes", "x ** 3", hard=True),
    Operation("bit counts", "bin(x).count('1')", hard=True),
)

FILTERS = (
    Operation("", ""),
    Operation("even", "x % 2 == 0"),
    Operation("odd", "x % 2 == 1"),
    Operation("positive", "x > 0"),
    Operation("negative", "x < 0"),
    *(Operation(f"greater than {k}", f"x > {k}") for k in (2, 3, 4, 5)),
    *(Operation(f"less than {k}", f"x < {k}") for k in (2, 3, 4, 5)),
    Operation("unique", "nums.count(x) == 1", hard=True),
    Operation("repeated", "nums.count(x) > 1", hard=True),
    Operation("two-digit", "9 < abs(x) < 100", hard=True),
    Operation("above-average", "x * len(nums) > sum(nums)", hard=True),
    Operation("ternary", "x % 3 == 0", hard=True),
)


# Lists from which every filter keeps something, with repeated values and both signs.
PROBES = (
    [3, -6, 12, 12, 7, -5, 1, 0, 28, 4],
    [-20, 17, 5, 5, 2, -1, 30, -9, 18, 3],
    [9, 9, -14, 22, 6, 0, 1, -3, 4, 27],
    [2, 25, -18, -18, 14, 3, 21, 1, -7, 6, 0],
)


def combinations() -> list[Combination]:
    """Every combination with at most one hard operation, in a fixed order, and no two that behave alike.

    Of combinations that agree on all PROBES (absolute values of positive values, values of positive values) the first stays.
    """
    every = (Combination(a, m, f) for a in AGGREGATES for m in MAPPINGS for f in FILTERS)
    distinct: dict[str, Combination] = {}
    for combination in every:
        if combination.hard <= 1:
            distinct.setdefault(_behaviour(combination), combination)
    return list(distinct.values())


def answer(combination: Combination, nums: list[int]) -> object:
    """What the combination's own solution returns for `nums`. Raises ValueError or IndexError where nothing is kept."""
    scope: Row = {"nums": nums}
    exec(f"v = {kept(combination)}\nresult = {combination.aggregate.code}", scope)
    return scope["result"]


def _behaviour(combination: Combination) -> str:
    return repr([answer(combination, nums) for nums in PROBES])


def body(combination: Combination) -> str:
    """The two lines of a method body that do what the combination says (8 spaces deep)."""
    return f"        v = {kept(combination)}\n        return {combination.aggregate.code}"


def kept(combination: Combination) -> str:
    """The list expression that `v` stands for."""
    guard = f" if {combination.keep.code}" if combination.keep.code else ""
    return f"[{combination.mapping.code} for x in nums{guard}]"


def solution(name: str, lines: str) -> str:
    """A class Solution whose method `name` has the body `lines`."""
    return f"class Solution:\n    def {name}(self, nums):\n{lines}"


def phrase(combination: Combination) -> str:
    """The combination in words: `sum of the doubles of the odd values`."""
    values = f"{combination.keep.text} values".strip()
    if "than" in combination.keep.text:
        values = f"values {combination.keep.text}"
    mapped = f"{combination.mapping.text} of the {values}" if combination.mapping.text else values
    return f"{combination.aggregate.text} of the {mapped}"
