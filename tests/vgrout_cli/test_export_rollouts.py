"""Rollouts as a table: every line of the logs is a row, and every column is on the page of the reference."""

import json
import re
from pathlib import Path

import pytest

from tests.vgrout_cli.synthetic import Size, write_run
from vgrout.run_directory import RunDir
from vgrout_cli.commands.export_rollouts import AUDIT, ROLLOUT, columns
from vgrout_cli.main import main

REFERENCE = Path(__file__).parents[2] / "docs/reference"
TYPES = {"list of int64": "list<int64>", "list of double": "list<double>"}


def rows(page: str) -> list[tuple[list[str], str]]:
    """(names, type) of every row of the page's tables."""
    cells = re.findall(r"^\| (`[^|]*) \| ([^|]*) \|", (REFERENCE / page).read_text(), re.M)
    return [(re.findall(r"`([^`]+)`", names), kind) for names, kind in cells]


def test_every_column_is_on_its_page_with_its_type():
    page = {name: TYPES.get(kind, kind) for names, kind in rows("rollouts-table.md") for name in names}
    assert page == columns(audits=True)
    logs = {name for names, _ in rows("run-directory.md") for name in names}  # which a test compares with a real run's
    assert set(ROLLOUT) | set(AUDIT) <= logs


def test_without_pyarrow_it_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert main(["export-rollouts", str(tmp_path), "--out", str(tmp_path / "t.parquet")]) == 2
    assert "pip install pyarrow" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_every_line_is_a_row_beside_its_audit(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow", reason="the optional package pyarrow is not installed (pip install vgrout[table])")
    import pyarrow.parquet as pq

    monkeypatch.setattr("vgrout_cli.commands.export_rollouts.ROWS_AT_ONCE", 3)
    run = RunDir(write_run(tmp_path / "run", "routev", 1, Size()))
    out = tmp_path / "table.parquet"
    assert main(["export-rollouts", str(run.path), "--out", str(out), "--audits"]) == 0
    table = pq.read_table(out).to_pylist()
    logged, audits = run.read("rollouts.jsonl"), {(a["update"], a["rollout_id"]): a for a in run.read("audits.jsonl")}
    assert len(table) == len(logged) > 3 and list(table[0]) == list(columns(audits=True))
    for row, line in zip(table, logged, strict=True):
        audit = audits[line["update"], line["id"]]
        assert {name: row[name] for name in line} == line and (row["arm"], row["run_seed"]) == ("routev", 1)
        assert row["audit_exploited"] == audit["exploited"] and json.loads(row["audit_notes"]) == audit["notes"]
    assert main(["export-rollouts", str(run.path), "--out", str(out)]) == 0
    assert pq.read_schema(out).names == list(columns(audits=False))


def test_pandas_and_datasets_load_it(tmp_path):
    for package in ("pyarrow", "pandas", "datasets"):
        pytest.importorskip(package, reason=f"the optional package {package} is not installed")
    import datasets
    import pandas

    run, out = write_run(tmp_path / "run", "routev", 1, Size()), tmp_path / "table.parquet"
    assert main(["export-rollouts", str(run), "--out", str(out), "--audits"]) == 0
    frame = pandas.read_parquet(out)
    loaded = datasets.load_dataset("parquet", data_files=str(out), cache_dir=str(tmp_path / "cache"), split="train")
    assert len(frame) == len(loaded) and frame["audit_exploited"].mean() == sum(loaded["audit_exploited"]) / len(loaded)
