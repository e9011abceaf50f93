"""The result of a simulation, and a table that compares several.

Invariant: shares are of the whole simulated time, from the first action to the end, filling the pipeline included; those of a
part sum to 1 with its idle time.
"""

from dataclasses import dataclass

from vgrout.rows import Row


@dataclass(frozen=True)
class SimulationResult:
    """One simulation. `learner`, `engines` and `graders` hold shares of time by activity, the last two as means over the parts;
    `ages` counts consumed groups by staleness, `dropped` attempts by reason; bytes per version are of both exports together."""

    swept: Row
    machines: int
    engine_count: int
    grader_count: int
    outcome: str
    why: str
    updates: int
    groups: int
    seconds: float
    learner: dict[str, float]
    engines: dict[str, float]
    graders: dict[str, float]
    driver_busy: float
    ages: dict[int, int]
    dropped: dict[str, int]
    settled_unconsumed: int
    deaths: dict[str, int]
    publishes_per_version: float
    loads_per_version: float
    learner_bytes_per_version: float
    engine_bytes_per_version: float
    events: int

    def dropped_share(self, reason: str) -> float:
        """Attempts given up for this reason, of all that came to an end."""
        ended = self.groups + sum(self.dropped.values())
        return self.dropped.get(reason, 0) / ended if ended else 0.0


def table(results: list[SimulationResult]) -> str:
    """One column per simulation, the swept fields on top."""
    ages = range(1 + max((age for result in results for age in result.ages), default=0))
    reasons = sorted({reason for result in results for reason in result.dropped})
    kinds = [("learner", ("update", "redo", "publish", "checkpoint", "down", "idle")),
             ("engines", ("decode", "load", "down", "idle")), ("graders", ("grade", "down", "idle"))]  # fmt: skip
    rows: list[list[str]] = [[name, *(_value(result.swept[name]) for result in results)] for name in results[0].swept]
    rows += [
        ["machines / engines / graders", *(f"{f.machines} / {f.engine_count} / {f.grader_count}" for f in results)],
        ["ended", *(f.outcome for f in results)],
        ["updates", *(str(f.updates) for f in results)],
        ["seconds per update", *(f"{f.seconds / max(1, f.updates):.1f}" for f in results)],
        ["groups consumed per minute", *(f"{60 * f.groups / f.seconds:.1f}" for f in results)],
        [],
    ]
    for kind, activities in kinds:
        shares = [[f"{kind}: {name}", *(_share(getattr(f, kind).get(name, 0.0)) for f in results)] for name in activities]
        rows += [row for row in shares if set(row[1:]) != {_share(0.0)} or row[0].endswith("idle")]
    rows += [["driver: busy", *(_share(f.driver_busy) for f in results)], []]
    rows += [[f"consumed at staleness {age}", *(_share(f.ages.get(age, 0) / max(1, f.groups)) for f in results)] for age in ages]
    rows += [[f"attempts dropped: {reason}", *(_share(f.dropped_share(reason)) for f in results)] for reason in reasons]
    rows += [["prompts given up for good", *(str(f.settled_unconsumed) for f in results)]]
    rows += [["deaths", *(_counts(f.deaths) for f in results)]]
    rows += [
        [],
        ["learner publishes per version", *(f"{f.publishes_per_version:.2f}" for f in results)],
        ["MB out of the learner per version", *(f"{f.learner_bytes_per_version / 1e6:.2f}" for f in results)],
        ["engine loads per version", *(f"{f.loads_per_version:.1f}" for f in results)],
        ["MB into engines per version", *(f"{f.engine_bytes_per_version / 1e6:.1f}" for f in results)],
    ]
    notes = [f"{f.swept or 'the run'} ended early: {f.why}" for f in results if f.why]
    return "\n".join([*_aligned(rows), *notes])


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows if row) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=False)]
        lines.append("  ".join([row[0].ljust(widths[0]), *cells]) if row else "")
    return lines


def _share(value: float) -> str:
    return f"{100 * value:.1f}%"


def _counts(deaths: dict[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in deaths.items()) or "none"


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
