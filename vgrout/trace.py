"""A run's timeline in the Chrome trace format, for Perfetto (ui.perfetto.dev) or chrome://tracing.

Invariant: a track holds the spans of one part at one kind of work, which do not overlap (actors/rollouts/work_log.py).
"""

from pathlib import Path

from vgrout.files import read_jsonl, to_json, write_whole
from vgrout.rows import Row

NAME = "trace.json"


def write_trace(run: Path) -> Path | None:
    """Write RUN/trace.json from RUN/timeline.jsonl and return it; None where the run has none."""
    if not (run / "timeline.jsonl").is_file():
        return None
    rows = [row for _, row in read_jsonl(run / "timeline.jsonl", ours=True)]
    write_whole(run / NAME, to_json(chrome_trace(rows)) + "\n")
    return run / NAME


def chrome_trace(rows: list[Row]) -> Row:
    """Rows of timeline.jsonl as one trace: times in microseconds since the first span began."""
    spans = [(row["update"], *span) for row in rows for span in row["spans"]]
    start = min((begin for _, _, _, begin, _ in spans), default=0.0)
    kinds = sorted({(part, what.split()[0]) for _, part, what, *_ in spans})  # `load version 3` is of the kind `load`
    tracks = {kind: number for number, kind in enumerate(kinds, 1)}
    events: list[Row] = [
        {"name": "thread_name", "ph": "M", "pid": 1, "tid": tid, "args": {"name": f"{part}: {kind}"}}
        for (part, kind), tid in tracks.items()
    ]
    events += [
        {"name": what, "ph": "X", "pid": 1, "tid": tracks[part, what.split()[0]], "args": {"update": update, "part": part}}
        | {"ts": round((begin - start) * 1e6), "dur": round((end - begin) * 1e6)}
        for update, part, what, begin, end in spans
    ]
    return {"traceEvents": events, "displayTimeUnit": "ms"}
