"""docs/reference/ names exactly what a run writes: every metric, every field of rollouts.jsonl and audits.jsonl, every file."""

import json
import re
from pathlib import Path

import pytest

from actors.async_run.messages import Update
from actors.async_run.wait_metrics import of_batch
from learner.update_metrics import nothing_graded
from tests.actors.simulated import SMALL as SIMULATED
from tests.actors.simulated import Scripted, point
from vgrout.config import load
from vgrout.metric_names import RENAMED, current
from vgrout.trace import write_trace

ROOT = Path(__file__).parent.parent.parent
SMALL = ["train.updates=1", "rollout.prompts=2", "rollout.samples=2", "eval.samples=1", "runtime.engine=hf"]
SETS = [*SMALL, "runtime.backend=local", "runtime.learner_threads=1", "runtime.graders=1", "rollout.max_new_tokens=16"]


def tables(page: str) -> dict[str, set[str]]:
    """Section title -> the names in the first column of its table."""
    found: dict[str, set[str]] = {}
    for section in re.split(r"^## ", (ROOT / "docs/reference" / page).read_text(), flags=re.M):
        title = section.partition("\n")[0].strip("` ")
        cells = re.findall(r"^\| (`[^|]*) \|", section, re.M)
        found[title] = {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}
    return found


def metrics(*kinds: str) -> set[str]:
    """The metrics that are written where these hold."""
    rows = re.findall(r"^\| (`[^|]*) \|[^|]*\| ([a-z, ]+) \|", (ROOT / "docs/reference/metrics.md").read_text(), re.M)
    found = [(re.findall(r"`([^`]+)`", names), set(written.split(", "))) for names, written in rows]
    return {name for names, written in found if written <= set(kinds) for name in names}


@pytest.fixture(scope="module", params=["routev", "vanilla"])
def run(request, tmp_path_factory):
    from actors.training import train

    config = load(ROOT / "configs/tiny.toml", arm=request.param, seed=3, sets=SETS)
    return train(config, tmp_path_factory.mktemp("run") / request.param)


@pytest.mark.slow
def test_a_run_writes_what_the_pages_say(run):
    files = tables("run-directory.md")
    scoring = ["scoring"] if run.config().arm == "routev" else []
    (line,) = run.read("metrics.jsonl")
    assert set(line) == metrics("always", "graded", "sync", *scoring)
    assert 0 < line["entropy"] < 10 and line["kl/reference"] == pytest.approx(0, abs=1e-12)  # the first update is of the base
    assert line["grad_norm/total"] ** 2 == pytest.approx(line["grad_norm/deployed"] ** 2 + line["grad_norm/quarantine"] ** 2)
    for log in ("rollouts.jsonl", "audits.jsonl"):
        assert set(json.loads((run.path / log).read_text().splitlines()[0])) == files[log], log
    listed = next(names for names in files.values() if "run.json" in names)
    inside = {p.name + "/" * p.is_dir() for p in run.path.iterdir()}
    assert inside - {name.split("/")[0] + "/" * ("/" in name) for name in listed} == set()


@pytest.mark.slow
def test_the_trace_of_a_run_shows_engine_graders_and_learner(run):
    place = write_trace(run.path)
    assert place is not None
    events = json.loads(place.read_text())["traceEvents"]
    place.unlink()
    names = {e["args"]["name"] for e in events if e["ph"] == "M"}
    assert {"engine-0: sample", "engine-0: load", "grader-0: grade", "learner: update"} <= names
    assert all(e["ts"] >= 0 and e["dur"] >= 0 for e in events if e["ph"] == "X")


def test_an_update_without_a_graded_rollout_still_writes_what_is_always_written():
    written = set(nothing_graded(1e-3).metrics)
    assert written <= metrics("always") and "loss" not in written


def test_async_metrics_are_on_the_page():
    said: list[dict] = []

    class Listening(Scripted):
        def do(self, action):
            if isinstance(action, Update):
                said.append(action.stats)
            super().do(action)

    at = point(SIMULATED)
    Listening(SIMULATED, at).run()
    written = {name for stats in said for name in stats} | set(of_batch({"0": 1}, False, 1.0))
    assert written - metrics("always") == metrics("async")
    assert {"canary_gap", "staleness", "time/update", "time/wait_rollouts", "time/backpressure"} <= written


def test_every_older_name_is_one_of_the_page_today():
    assert set(RENAMED.values()) <= metrics("always", "graded", "scoring", "sync", "async")
    assert current({"update": 1, "share_hack": 0.5}) == {"update": 1, "gate/share_hack": 0.5}
