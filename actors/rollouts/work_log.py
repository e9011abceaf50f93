"""Who worked when: spans of engines, graders and learner as the driver sees them, for the timeline of `vgrout view`.

Invariant: nothing that is decided depends on it. A span begins when the driver asks and ends when it has the answer, so a part
that has several requests at once is shown as busy until the last one is answered.
"""

import time
from dataclasses import dataclass, field

GAP_S = 0.05  # requests of one kind that follow each other this closely are one span


@dataclass
class WorkLog:
    """Spans since the last `take`."""

    open: dict[int, tuple[str, str, float]] = field(default_factory=dict)
    done: list[tuple[str, str, float, float]] = field(default_factory=list)
    count: int = 0

    def begin(self, part: str, what: str) -> int:
        """A part is asked for something; returns the number to end it with."""
        self.count += 1
        self.open[self.count] = (part, what, time.time())
        return self.count

    def end(self, number: int) -> None:
        """It has answered."""
        if (begun := self.open.pop(number, None)) is not None:
            self.done.append((*begun, time.time()))

    def lost(self, part: str) -> None:
        """The part's process is gone: what was open ends here."""
        for number in [n for n, (name, _, _) in self.open.items() if name == part]:
            self.end(number)

    def take(self) -> list[tuple[str, str, float, float]]:
        """(part, what, begin, end) in Unix seconds, in order of their begin; joined where one follows the other."""
        found: list[tuple[str, str, float, float]] = []
        last: dict[tuple[str, str], int] = {}
        for part, what, begin, end in sorted(self.done, key=lambda span: span[2]):
            place = last.get((part, what))
            if place is not None and begin - found[place][3] <= GAP_S:
                found[place] = (*found[place][:3], max(found[place][3], end))
            else:
                last[part, what] = len(found)
                found.append((part, what, begin, end))
        self.done = []
        return [(part, what, round(begin, 3), round(end, 3)) for part, what, begin, end in found]
