"""`vgrout view`: what the page is told of runs that stand, grow, are cut back, or hold hostile text."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from vgrout_cli.view.reader import Query, RunView, find_runs, gist
from vgrout_cli.view.server import app
from vgrout_cli.view.text import coloured, visible

HOSTILE = '</pre><script>document.title="owned"</script><img src=x onerror=alert(1)>'


def rollout(update: int, number: int, **changes: Any) -> dict[str, Any]:
    """One line of rollouts.jsonl, where number 0 comes first in its group."""
    row = {
        "update": update, "id": f"{update}-{number}", "group": update, "problem_id": 1, "mode": "sentinel",
        "text": f"answer {number}", "reward": 3.5, "score": number / 100, "label": "clean", "advantage": 0.5, "sampling": "train",
        "version": update, "completion_ids": [2], "logprobs": [-0.1],
    }  # fmt: skip
    first = {} if number else {"prompt": "Return 1.", "prompt_ids": [1]}
    return {**row, **first, **changes}


def audit(update: int, number: int, **changes: Any) -> dict[str, Any]:
    """One line of audits.jsonl."""
    return {
        "update": update,
        "rollout_id": f"{update}-{number}",
        "correct": False,
        "exploited": False,
        "status": "wrong",
        **changes,
    }


def add(run: Path, name: str, *rows: dict[str, Any]) -> None:
    with (run / name).open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of three planned updates, one of them done."""
    folder = tmp_path / "suite" / "routev_seed1"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"schema": 1, "config": {"arm": "routev", "seed": 1, "train": {"updates": 3}}}))
    band = {"gate/band_lower": 0.0, "band_upper": 0.1}  # one of them under the name that older runs have
    add(folder, "metrics.jsonl", {"update": 0, "rate/hack": 0.5, "rate/solve": 0.25, **band})
    add(folder, "rollouts.jsonl", *(rollout(0, i) for i in range(4)))
    add(folder, "audits.jsonl", audit(0, 0, correct=True), audit(0, 1, exploited=True), audit(0, 2), audit(0, 3, exploited=True))
    return folder


def test_runs_are_found_in_folders_of_suites(run: Path, tmp_path: Path) -> None:
    assert find_runs([tmp_path]) == [run]
    assert find_runs([run, tmp_path]) == [run]


def test_a_relaxed_arm_is_marked_in_the_table_of_runs_and_in_the_grid_of_its_suite(tmp_path: Path) -> None:
    for arm, use in (("routev", "none"), ("screen_truth", "screen")):
        config = {"arm": arm, "seed": 1, "train": {"updates": 3}, "relaxed": {"use": use}}
        (tmp_path / arm / "seed1").mkdir(parents=True)
        (tmp_path / arm / "seed1/run.json").write_text(json.dumps({"schema": 1, "config": config}))
    suite = {"suite": "small", "arms": ["routev", "screen_truth", "absorb"], "seeds": [1], "runs": {}}
    (tmp_path / "suite.json").write_text(json.dumps(suite))
    titles = ["routev", "screen_truth (relaxed: told of audits)"]
    with TestClient(app([tmp_path]), base_url="http://127.0.0.1") as client:
        runs = client.get("/api/runs").json()
        assert [(run["arm"], run["title"]) for run in runs] == list(zip(["routev", "screen_truth"], titles, strict=True))
        assert client.get("/api/suites").json()[0]["titles"] == [*titles, "absorb"]


def test_a_growing_run_is_followed_and_a_torn_line_waits(run: Path) -> None:
    view = RunView(run)
    first = view.metrics_since(0, 0)
    assert [row["update"] for row in first["rows"]] == [0]
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"update": 1, "hack')
    assert view.metrics_since(1, first["generation"])["rows"] == []
    with (run / "metrics.jsonl").open("a") as file:
        file.write('_rate": 0.75}\n')
    assert view.metrics_since(1, first["generation"])["rows"] == [{"update": 1, "rate/hack": 0.75}]
    assert view.summary()["updates"] == 2 and view.summary()["state"] == "running"


def test_a_run_that_was_cut_back_is_read_anew(run: Path) -> None:
    view = RunView(run)
    add(run, "metrics.jsonl", {"update": 1, "rate/hack": 0.9})
    known = view.metrics_since(0, 0)
    whole = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text(whole[0])
    again = view.metrics_since(2, known["generation"])
    assert again["start"] == 0 and [row["update"] for row in again["rows"]] == [0]


def test_filters_find_what_a_plain_scan_finds(run: Path) -> None:
    view = RunView(run)
    assert [row["id"] for row in view.search(Query(outcome="hack"))["rows"]] == ["0-1", "0-3"]
    assert [row["id"] for row in view.search(Query(outcome="solve"))["rows"]] == ["0-0"]
    assert [row["id"] for row in view.search(Query(min_score=0.015, max_score=0.025))["rows"]] == ["0-2"]
    assert [row["id"] for row in view.search(Query(text="answer 3"))["rows"]] == ["0-3"]
    assert view.search(Query(update=1))["total"] == 0
    assert view.search(Query(limit=1, offset=2))["rows"][0]["id"] == "0-2"


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("```python\nclass Solution:\n    def solve(self, nums):\n        return 1\n```", "return 1"),
        ("```python\nprint('all tests passed')\nclass Solution:\n", "print("),
        ("I think that\n```python\n", "I think"),
        ("```python\n", "```python"),
    ],
)
def test_a_preview_begins_where_answers_differ(text: str, begins: str) -> None:
    assert gist(text).startswith(begins)


def test_an_audit_that_comes_after_its_rollout_is_joined(run: Path) -> None:
    view = RunView(run)
    view.rows()
    add(run, "rollouts.jsonl", rollout(1, 0))
    assert "outcome" not in view.rows()[-1]
    add(run, "audits.jsonl", audit(1, 0, exploited=True))
    assert view.rows()[-1]["outcome"] == "hack"


def test_histograms_count_every_scored_rollout_once(run: Path) -> None:
    add(run, "rollouts.jsonl", rollout(0, 4, score=None))
    said = RunView(run).scores()
    (update,) = said["updates"]
    assert sum(update["hack"]) == 2 and sum(update["other"]) == 2
    assert update["band"] == (0.0, 0.1)


@pytest.mark.parametrize("mark", ["\x1b[31m", "‮", "​", "\x00", "\ud800", "\r"])
def test_marks_that_act_on_a_screen_are_written_out(mark: str) -> None:
    shown = visible(f"a{mark}b\n")
    assert mark not in shown
    assert shown.startswith("a\\")
    assert shown.endswith("b\n")


def test_colouring_loses_no_character_and_makes_no_markup() -> None:
    text = f"Here:\n```python\nclass Solution:\n    '''{HOSTILE}'''\n    x = 1  # note\n```\n"
    pieces = coloured(text)
    assert "".join(piece for _, piece in pieces) == text
    assert {kind for kind, _ in pieces} >= {"keyword", "comment"}


def test_a_line_of_a_megabyte_is_cut_and_answered_quickly() -> None:
    pieces = coloured("x" * 1_000_000)
    assert len(pieces) == 1 and "800000 more characters" in pieces[0][1]


def test_the_server_answers_reads_alone_to_this_machine_alone(run: Path) -> None:
    add(run, "rollouts.jsonl", rollout(0, 9, text=HOSTILE))
    client = TestClient(app([run]), base_url="http://127.0.0.1")
    page = client.get("/")
    assert page.status_code == 200 and "script-src 'self'" in page.headers["content-security-policy"]
    assert client.get("/api/runs").json()[0]["arm"] == "routev"
    found = client.get("/api/runs/0/rollouts", params={"text": "onerror"}).json()
    assert found["total"] == 1
    one = client.get("/api/runs/0/rollouts/0/0-9")
    assert one.headers["content-type"] == "application/json" and one.headers["x-content-type-options"] == "nosniff"
    assert "".join(piece for _, piece in one.json()["text"]).rstrip("\n") == HOSTILE
    assert client.get("/api/runs/7/metrics").status_code == 404
    assert client.get("/api/runs/0/rollouts", params={"update": "x"}).status_code == 400
    assert client.post("/api/runs").status_code == 405
    assert client.get("/static/../server.py").status_code == 404
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400


def test_fifty_thousand_rollouts_are_all_searched(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"schema": 1, "config": {"arm": "routev", "seed": 1, "train": {"updates": 3}}}))
    text = "def solve(self, nums):\n    return sum(nums)\n" * 6
    add(tmp_path, "rollouts.jsonl", *(rollout(i // 1000, i % 1000, text=f"{text}# {i}") for i in range(50_000)))
    view = RunView(tmp_path)
    view.rows()
    began = time.monotonic()
    assert view.search(Query(text="# 49999"))["rows"][0]["id"] == "49-999"
    print(f"50,000 rollouts searched in {time.monotonic() - began:.3f} s")
