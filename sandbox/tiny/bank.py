"""The bank of a world: its problems in the published schema, split into train, test, pairs and SFT.

Invariant: the splits are consecutive slices of one seeded shuffle of all combinations, so no operation combination is
in two of them; test ids are newer (greater) than training ids; the same seed gives the same bytes.
"""

import random
from dataclasses import dataclass

from sandbox.tiny.lists import LISTS
from sandbox.tiny.world import Combination, World
from vgrout.rows import Row
from vgrout.seeds import rng

TRAIN, TEST, PAIRS = 320, 128, 32  # problems; every other combination is for SFT
HARD_SHARE = 0.7
FIRST_ID = {"train": 1001, "test": 3001}
CASES = 8
SETUP = "from typing import List\n"


@dataclass(frozen=True)
class Splits:
    """Combinations of each split, disjoint."""

    train: list[Combination]
    test: list[Combination]
    pairs: list[Combination]
    sft: list[Combination]


def split(seed: int, world: World = LISTS) -> Splits:
    """Divide all combinations. `train` and `test` hold HARD_SHARE with exactly one hard operation; `pairs` none."""
    every = world.combinations()
    easy, hard = [c for c in every if not c.hard], [c for c in every if c.hard]
    rng(seed, world.name, "split", "easy").shuffle(easy)
    rng(seed, world.name, "split", "hard").shuffle(hard)
    take = {"train": TRAIN, "test": TEST}
    parts: dict[str, list[Combination]] = {}
    for name, count in take.items():
        few = round(count * HARD_SHARE)
        parts[name] = [*hard[:few], *easy[: count - few]]
        hard, easy = hard[few:], easy[count - few :]
        rng(seed, world.name, "order", name).shuffle(parts[name])
    return Splits(parts["train"], parts["test"], easy[:PAIRS], [*easy[PAIRS:], *hard])


def statement(world: World, combination: Combination, name: str) -> str:
    """The user message of a problem, with the published request to pass all tests exactly once."""
    return world.statement.format(phrase=world.phrase(combination), name=name)


def asserts(world: World, combination: Combination, name: str, random_: random.Random) -> list[str]:
    """CASES hidden asserts over different inputs, with at least three different expected values (no constant passes)."""
    while True:
        inputs = [world.draw(combination, random_) for _ in range(CASES)]
        expected = [world.answer(combination, value) for value in inputs]
        if len({repr(e) for e in expected}) >= 3:
            return [f"assert Solution().{name}({world.argument} = {i!r}) == {e!r}" for i, e in zip(inputs, expected, strict=True)]


def fields(world: World, combination: Combination, name: str, text: str, random_: random.Random) -> Row:
    """The published fields of one problem, without its id."""
    tests = asserts(world, combination, name, random_)
    return {
        "prompt": [{"role": "user", "content": text}],
        "question": text,
        "dataset": world.name,
        "evaluator": "code",
        "difficulty": "hard" if combination.hard else "medium",
        "func_name": f"Solution().{name}",
        "setup_code": SETUP,
        "canonical_solution": world.solution(name, world.body(combination)),
        "gt_answer": tests,
        "prompt_metadata": {"combination": combination.key},
    }


def problems(seed: int, part: str, world: World = LISTS) -> list[Row]:
    """The rows of `train` or `test`, ids ascending."""
    chosen = getattr(split(seed, world), part)
    rows = []
    for number, combination in enumerate(chosen):
        random_ = rng(seed, world.name, part, combination.key)
        name = random_.choice(world.names)
        rows.append(
            {"id": FIRST_ID[part] + number, **fields(world, combination, name, statement(world, combination, name), random_)}
        )
    return rows
