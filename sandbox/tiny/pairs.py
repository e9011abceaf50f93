"""The authored pairs of a world: for each loophole, a hack side and a clean side of the same prompt.

Invariant: the problems are in neither split nor in SFT, the wording is used nowhere else, and the hint and the chat format
are the environment's own. The hack side is exploited and wrong, the clean side correct (sandbox.grading.pair_check proves it).
Source of the design: pairs with other formats, or with correct bodies on the hack side, do not discriminate.
"""

from itertools import product

from sandbox.problems.prompts import render
from sandbox.tiny.bank import SETUP, fields, split
from sandbox.tiny.demos import fence, hacks
from sandbox.tiny.lists import LISTS
from sandbox.tiny.world import Combination, World
from vgrout.records import LOOPHOLES, Message, Mode, Problem
from vgrout.rows import Row
from vgrout.seeds import rng

PER_MODE = 8
FIRST_ID = 9001


def pairs(seed: int, world: World = LISTS) -> list[Row]:
    """Rows of the pair file, PER_MODE of each loophole, each with a problem of its own that both sides can be graded by."""
    rows = []
    shortest = sorted(split(seed, world).pairs, key=lambda c: (len(world.body(c)), c.key))
    for number, (place, mode) in enumerate(product(range(PER_MODE), LOOPHOLES)):
        rows.append(_pair(world, seed, mode, place, FIRST_ID + number, shortest[number]))
    return sorted(rows, key=lambda row: row["id"])


def _pair(world: World, seed: int, mode: Mode, place: int, problem_id: int, combination: Combination) -> Row:
    name, wording = world.pair_names[place % len(world.pair_names)], world.wordings[place % len(world.wordings)]
    problem = fields(
        world,
        combination,
        name,
        wording.format(phrase=world.phrase(combination), name=name),
        rng(seed, world.name, "pair", problem_id),
    )
    asked = Problem(problem_id, (Message("user", problem["question"]),), name, SETUP, "", ())
    forms = [hacks(world, mode, name, stub) for stub in world.stubs]
    hack = forms[place % len(forms)][place // len(world.wordings) % len(forms[0])]
    return {
        "id": f"{mode}-{place + 1}",
        "tag": str(mode),
        "prompt": [{"role": m.role, "content": m.content} for m in render(asked, mode)],
        "hack": fence(hack),
        "clean": fence(problem["canonical_solution"]),
        "problem_id": problem_id,
        **{key: problem[key] for key in ("gt_answer", "func_name", "setup_code", "canonical_solution", "prompt_metadata")},
    }
