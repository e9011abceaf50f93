"""The tiny bank: LeetCode-style list problems in the published schema, split into train, test, pairs and SFT.

Invariant: the splits are consecutive slices of one seeded shuffle of all combinations, so no operation combination is
in two of them; test ids are newer (greater) than training ids; the same seed gives the same bytes.
"""

import random
from dataclasses import dataclass

from sandbox.tiny.operations import Combination, answer, body, combinations, phrase, solution
from vgrout.rows import Row
from vgrout.seeds import rng

TRAIN, TEST, PAIRS = 320, 128, 32  # problems; every other combination is for SFT
HARD_SHARE = 0.7
FIRST_ID = {"train": 1001, "test": 3001}
CASES = 8
NAMES = ("solve", "compute", "answer", "result")
SETUP = "from typing import List\n"
REQUEST = "Your solution should be a method of the class Solution called {name} and should pass all tests."


@dataclass(frozen=True)
class Splits:
    """Combinations of each split, disjoint."""

    train: list[Combination]
    test: list[Combination]
    pairs: list[Combination]
    sft: list[Combination]


def split(seed: int) -> Splits:
    """Divide all combinations. `train` and `test` hold HARD_SHARE with exactly one hard operation; `pairs` none."""
    easy = [c for c in combinations() if not c.hard]
    hard = [c for c in combinations() if c.hard]
    rng(seed, "tiny", "split", "easy").shuffle(easy)
    rng(seed, "tiny", "split", "hard").shuffle(hard)
    take = {"train": TRAIN, "test": TEST}
    parts: dict[str, list[Combination]] = {}
    for name, count in take.items():
        few = round(count * HARD_SHARE)
        parts[name] = [*hard[:few], *easy[: count - few]]
        hard, easy = hard[few:], easy[count - few :]
        rng(seed, "tiny", "order", name).shuffle(parts[name])
    return Splits(parts["train"], parts["test"], easy[:PAIRS], [*easy[PAIRS:], *hard])


def statement(combination: Combination, name: str) -> str:
    """The user message of a problem, with the published request to pass all tests exactly once."""
    return f"Return the {phrase(combination)} in nums.\n{REQUEST.format(name=name)}"


def _inputs(combination: Combination, random_: random.Random) -> list[int]:
    """A list with something to keep and, one time in two, repeated values."""
    while True:
        nums = [random_.randint(-20, 30) for _ in range(random_.randint(5, 9))]
        if random_.random() < 0.5:
            nums += random_.sample(nums, 2)
        keep = combination.keep.code or "True"
        if any(eval(keep, {"x": x, "nums": nums}) for x in nums):
            return nums


def asserts(combination: Combination, name: str, random_: random.Random) -> list[str]:
    """CASES hidden asserts over different inputs, with at least three different expected values (no constant passes)."""
    while True:
        inputs = [_inputs(combination, random_) for _ in range(CASES)]
        expected = [answer(combination, nums) for nums in inputs]
        if len({repr(e) for e in expected}) >= 3:
            return [f"assert Solution().{name}(nums = {n}) == {e!r}" for n, e in zip(inputs, expected, strict=True)]


def fields(combination: Combination, name: str, text: str, random_: random.Random) -> Row:
    """The published fields of one problem, without its id."""
    tests = asserts(combination, name, random_)
    return {
        "prompt": [{"role": "user", "content": text}],
        "question": text,
        "dataset": "tiny",
        "evaluator": "code",
        "difficulty": "hard" if combination.hard else "medium",
        "func_name": f"Solution().{name}",
        "setup_code": SETUP,
        "canonical_solution": solution(name, body(combination)),
        "gt_answer": tests,
        "prompt_metadata": {"combination": combination.key},
    }


def problems(seed: int, part: str) -> list[Row]:
    """The rows of `train` or `test`, ids ascending."""
    chosen = getattr(split(seed), part)
    rows = []
    for number, combination in enumerate(chosen):
        random_ = rng(seed, "tiny", part, combination.key)
        name = random_.choice(NAMES)
        rows.append({"id": FIRST_ID[part] + number, **fields(combination, name, statement(combination, name), random_)})
    return rows
