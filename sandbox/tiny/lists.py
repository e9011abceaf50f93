"""The first world: LeetCode-style problems about a list of numbers."""

import random

from sandbox.tiny.world import Combination, Operation, Size, World

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


def body(combination: Combination) -> str:
    """One comprehension and the aggregate."""
    guard = f" if {combination.keep.code}" if combination.keep.code else ""
    return f"        v = [{combination.mapping.code} for x in nums{guard}]\n        return {combination.aggregate.code}"


def phrase(combination: Combination) -> str:
    """The combination in words: `sum of the doubles of the odd values`."""
    values = f"{combination.keep.text} values".strip()
    if "than" in combination.keep.text:
        values = f"values {combination.keep.text}"
    mapped = f"{combination.mapping.text} of the {values}" if combination.mapping.text else values
    return f"{combination.aggregate.text} of the {mapped}"


def draw(combination: Combination, random_: random.Random) -> list[int]:
    """A list with something to keep and, one time in two, repeated values."""
    while True:
        nums = [random_.randint(-20, 30) for _ in range(random_.randint(5, 9))]
        if random_.random() < 0.5:
            nums += random_.sample(nums, 2)
        keep = combination.keep.code or "True"
        if any(eval(keep, {"x": x, "nums": nums}) for x in nums):
            return nums


LISTS = World(
    name="tiny",
    argument="nums",
    aggregates=AGGREGATES,
    mappings=MAPPINGS,
    filters=FILTERS,
    probes=PROBES,
    body=body,
    phrase=phrase,
    draw=draw,
    statement="Return the {phrase} in nums.\n"
    "Your solution should be a method of the class Solution called {name} and should pass all tests.",
    names=("solve", "compute", "answer", "result"),
    wordings=(
        "You get a list nums. Work out the {phrase}.\nPut your code in a method {name} of a class Solution, which takes nums "
        "and should pass all tests.",
        "For any nums, what is the {phrase}?\nAnswer with a class Solution that has the method {name} and should pass all tests.",
        "Task: the {phrase}, taken from nums.\nWrite one method, {name}, of a class Solution; it is to be right and should pass "
        "all tests.",
    ),
    pair_names=("find", "collect"),
    stubs=("return 0", "return 1", "pass"),
    size=Size(hidden=128, inner=384, layers=4, head=32),
)
