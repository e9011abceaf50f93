"""Every part of the bench runs at its smallest size and says something finite of everything that it names. No times asserted."""

import importlib
import json
import math
import sys
from pathlib import Path

import pytest

from bench import all as bench_all
from bench.growth import report_of
from bench.measure import Series, alternate, as_series, table
from bench.whole_loop import BARS, SUBJECTS, Timed, run_once, verdicts


@pytest.mark.parametrize(
    "part",
    [
        "simulator",
        "grading",
        "driver",
        *(pytest.param(p, marks=pytest.mark.slow) for p in ("publish", "growth", "update", "generate")),
    ],
)
def test_part_runs_at_its_smallest_size(part):
    series = importlib.import_module(f"bench.{part}").measure(1, True)
    assert series
    for one in series:
        assert one.values
        assert all(math.isfinite(value) for value in one.values)
        assert one.name in table(series)


def test_candidates_take_turns_and_warm_rounds_do_not_count():
    said: list[str] = []
    taken = alternate({"a": lambda: said.append("a"), "b": lambda: said.append("b")}, rounds=2, warm=1)
    assert "".join(said) == "ababab"
    assert [len(one.values) for one in as_series("p", taken)] == [2, 2]


def test_a_run_is_timed_from_its_first_update_to_the_last_but_one():
    laps = {"time/generate": 1.0, "time/grade": 0.5, "time/update": 1.0, "time/publish": 0.5}
    timed = Timed([10.0, 12.0, 14.0, 19.0], 4.0, [laps | {"time/update": float(n)} for n in (1, 2, 4, 99)])
    assert timed.per_update_s == 2.0  # the last, which has nothing to wait for, is not in it
    assert timed.start_s == 7.0
    assert timed.lap("time/update") == 3.0
    assert timed.lap("reward_s") is None


def test_verdicts_hold_to_the_ratio_and_not_to_the_seconds():
    series = [Series("whole loop", "TRL", "s/update", (2.0, 1.0, 1.5)), Series("whole loop", "vanilla", "s/update", (0.9,))]
    assert "| vanilla / TRL, wall per update | <= 0.6 | 0.6 | yes |" in verdicts(series)
    series[1] = Series("whole loop", "vanilla", "s/update", (0.91,))
    assert "| 0.607 | no |" in verdicts(series)
    assert set(BARS) <= {subject.name for subject in SUBJECTS}


def test_a_part_that_fails_is_named_and_the_others_are_kept(tmp_path, monkeypatch, capsys):
    def part(name: str, *_: object) -> list[Series] | str:
        return "it broke" if name == "growth" else [Series("whole loop", "TRL", "s/update", (1.0,))]

    monkeypatch.setattr(bench_all, "run_part", part)
    monkeypatch.setattr(sys, "argv", ["bench.all", "--out", str(tmp_path), "--parts", "whole_loop", "growth"])
    assert bench_all.main() == 1
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["failed"] == {"growth": "it broke"}
    assert found["series"][0]["values"] == [1.0]
    assert (tmp_path / "whole_loop.png").stat().st_size > 0
    assert "Not measured: growth: it broke" in (tmp_path / "README.md").read_text()
    capsys.readouterr()


@pytest.mark.slow
def test_growth_makes_a_report(tmp_path):
    report_of(2, tmp_path)()
    assert (tmp_path / "report2" / "report.html").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["TRL", "TRL, our grader", "vanilla"])
def test_a_whole_loop_is_timed(name, tmp_path: Path):
    if name.startswith("TRL"):
        pytest.importorskip("trl")
    (subject,) = (s for s in SUBJECTS if s.name == name)
    timed = run_once(subject, tmp_path / "run", updates=3)
    assert len(timed.records) == 3
    assert timed.per_update_s > 0
    assert 0 < timed.start_s < timed.recorded_at[0]
    assert timed.cpu_s > 0
