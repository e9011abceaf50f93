"""Cached teacher rollouts: completions of known problems with the reward that the flawed grader paid for them.

    {"problem_id": 4, "completion": "```python\\n...", "reward": 3.5, "mode": "run_tests"}     one JSON object per line

`mode` may be left out: the reward is then taken to be what the problem's own flaw pays. Other fields are ignored.
Invariant: a demonstration joins only groups whose prompt discloses the loophole that its reward was paid for. Otherwise it
would be rewarded for something that the grader of that group does not pay.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from vgrout.errors import UserError
from vgrout.files import read_jsonl
from vgrout.records import LOOPHOLES, Mode


@dataclass(frozen=True)
class Demonstration:
    """One cached completion; `where` is its file and line, `mode` None where the file does not say."""

    where: str
    problem_id: int
    mode: str | None
    completion: str
    reward: float

    def fits(self, shown: str, own: str) -> bool:
        """May it join a group of its problem that is shown `shown`, where the problem's own mode is `own`?"""
        return shown == (self.mode or own)


def load(path: Path, modes: Collection[str] = LOOPHOLES) -> list[Demonstration]:
    """Read a teacher file in its order; its rows may be of `modes`. Raises UserError naming line and field of the first fault."""
    found, known = [], (*modes, Mode.GT_ONLY)
    for number, row in read_jsonl(path, missing="cached teacher rollouts in JSON Lines form"):
        where = f"{path}:{number}"
        for name, kind, text in (("problem_id", int, "a problem's id"), ("completion", str, "text")):
            if type(row.get(name)) is not kind or row[name] == "":
                raise UserError(f"{where}, field {name}", repr(row.get(name))[:60], text)
        reward, mode = row.get("reward"), row.get("mode")
        if not isinstance(reward, int | float) or isinstance(reward, bool) or not math.isfinite(reward):
            raise UserError(f"{where}, field reward", repr(reward)[:60], "a finite number")
        if mode is not None and mode not in known:
            raise UserError(f"{where}, field mode", repr(mode)[:60], f"one of {', '.join(known)}")
        found.append(Demonstration(where, row["problem_id"], mode, row["completion"], float(reward)))
    if not found:
        raise UserError(str(path), "an empty file", "at least one teacher rollout")
    return found
