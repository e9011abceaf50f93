"""A journal's bytes as lists, for tests."""

import io
from dataclasses import dataclass

from actors.journal.format import Hole, walk
from vgrout.rows import Row


@dataclass(frozen=True)
class Scan:
    """Whole records in order, and the holes between and behind them. `end` is where a torn tail begins, or the file's end."""

    records: list[Row]
    holes: list[Hole]
    end: int


def scan(data: bytes) -> Scan:
    """Read a whole journal."""
    found = list(walk(io.BytesIO(data)))
    holes = [one for one in found if isinstance(one, Hole)]
    torn = [hole.offset for hole in holes if hole.torn]
    return Scan([one[1] for one in found if not isinstance(one, Hole)], holes, torn[0] if torn else len(data))
