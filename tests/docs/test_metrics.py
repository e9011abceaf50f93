"""docs/reference/ names exactly what a run writes: every metric, every field of rollouts.jsonl and audits.jsonl, every file."""

import json
import re
from pathlib import Path

import pytest

from actors.async_run.wait_metrics import WaitMetrics
from vgrout.config import load

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


@pytest.fixture(scope="module", params=["routev", "vanilla"])
def run(request, tmp_path_factory):
    from actors.training import train

    config = load(ROOT / "configs/tiny.toml", arm=request.param, seed=3, sets=SETS)
    return train(config, tmp_path_factory.mktemp("run") / request.param)


@pytest.mark.slow
def test_a_run_writes_what_the_pages_say(run):
    metrics, files = tables("metrics.md"), tables("run-directory.md")
    scoring = metrics["With a gate that scores"] if run.config().arm == "routev" else set()
    (line,) = run.read("metrics.jsonl")
    assert set(line) == metrics["In every run"] | metrics["In sync mode"] | scoring
    for log in ("rollouts.jsonl", "audits.jsonl"):
        assert set(json.loads((run.path / log).read_text().splitlines()[0])) == files[log], log
    listed = next(names for names in files.values() if "run.json" in names)
    inside = {p.name + "/" * p.is_dir() for p in run.path.iterdir()}
    assert inside - {name.split("/")[0] + "/" * ("/" in name) for name in listed} == set()


def test_async_metrics_are_on_the_page():
    metrics = tables("metrics.md")
    known = metrics["In every run"] | metrics["In async mode"]
    written = set(WaitMetrics(["engine-0"]).read(1.0))
    assert written | {"staleness", "replayed", "update_s"} <= known
    assert metrics["In async mode"] <= written | {"replayed"}
