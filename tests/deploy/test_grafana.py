"""The Grafana dashboard asks for series that a run exports through Ray, and for no other."""

import json
import re
import sys
from pathlib import Path
from types import ModuleType

from actors import sinks
from vgrout.config import load
from vgrout.run_directory import RunDir
from vgrout_cli.main import main

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "deploy/grafana.json").read_text())


def documented() -> set[str]:
    """Every metric of docs/reference/metrics.md, which tests/docs/test_metrics.py compares with what runs write."""
    rows = re.findall(r"^\| (`[^|]*) \|", (ROOT / "docs/reference/metrics.md").read_text(), re.M)
    return {name for cell in rows for name in re.findall(r"`([^`]+)`", cell)}


def test_every_series_of_the_dashboard_is_exported():
    asked = set(re.findall(r"\bray_(vgrout_\w+)", json.dumps(DASHBOARD)))
    exported = {sinks.gauge_name(name) for name in documented()}
    assert len(asked) > 20 and asked <= exported, asked - exported
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert all(panel["targets"] and "$run" in target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"])


def test_every_number_of_an_update_becomes_a_gauge_with_the_labels_of_its_run(tmp_path, monkeypatch):
    seen: dict[str, tuple[float, dict[str, str]]] = {}

    class Gauge:
        def __init__(self, name: str, description: str, tag_keys: tuple[str, ...]) -> None:
            assert re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name), "a name that Prometheus refuses"
            self.name = name

        def set_default_tags(self, tags: dict[str, str]) -> None:
            self.tags = tags

        def set(self, value: float) -> None:
            seen[self.name] = (value, self.tags)

    module = ModuleType("ray.util.metrics")
    module.Gauge = Gauge  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray.util.metrics", module)
    run = RunDir.create(tmp_path / "run-7", load("tiny", arm="absorb", seed=7), {})
    with sinks.trackers(run, ["prometheus"]):
        for update in range(2):
            row = {"update": update, "rate/hack": 0.25 * update, "per_mode": {"all": {"hack": 3}}, "kl/reference": float("nan")}
            for listen in run.listeners:
                listen(row)
    labels = {"run": "run-7", "arm": "absorb", "seed": "7"}
    assert seen == {
        "vgrout_update": (1.0, labels), "vgrout_rate_hack": (0.25, labels), "vgrout_per_mode_all_hack": (3.0, labels),
    }  # fmt: skip


def test_prometheus_needs_ray(tmp_path, capsys):
    command = ["train", "tiny", "--out", str(tmp_path / "run"), "--log", "prometheus", "--set", "runtime.backend=local"]
    assert main(command) == 2
    assert "runtime.backend" in capsys.readouterr().err and not (tmp_path / "run").exists()
