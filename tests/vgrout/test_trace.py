"""A run's timeline as a Chrome trace: JSON that has every span, at its time, on a track of its part and work."""

import json

from vgrout.trace import write_trace


def test_every_span_is_in_the_trace(tmp_path):
    assert write_trace(tmp_path) is None
    rows = [
        {"update": 0, "spans": [["engine-0", "sample", 100.0, 103.0], ["grader-0", "grade", 101.5, 103.25]]},
        {"update": 1, "spans": [["learner", "update", 103.25, 104.0], ["engine-0", "load version 1", 104.0, 106.0]]},
    ]
    (tmp_path / "timeline.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    place = write_trace(tmp_path)
    assert place == tmp_path / "trace.json"
    events = json.loads(place.read_text())["traceEvents"]
    names = {e["tid"]: e["args"]["name"] for e in events if e["ph"] == "M"}
    spans = [(names[e["tid"]], e["args"]["update"], e["ts"] / 1e6, e["dur"] / 1e6) for e in events if e["ph"] == "X"]
    assert spans == [
        ("engine-0: sample", 0, 0.0, 3.0), ("grader-0: grade", 0, 1.5, 1.75),
        ("learner: update", 1, 3.25, 0.75), ("engine-0: load", 1, 4.0, 2.0),
    ]  # fmt: skip
