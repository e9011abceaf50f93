"""Runs in the terminal: listed, compared, watched; and what a misspelt word is told."""

import json
import threading
from pathlib import Path

import pytest

from vgrout_cli.main import main


def run_of(folder: Path, planned: int, rates: list[float], **config: object) -> Path:
    """A run of `planned` updates, of which one is logged for each rate."""
    folder.mkdir(parents=True)
    settings = {"arm": "routev", "seed": 1, "train": {"updates": planned}, "optim": {"lr": 0.1}, **config}
    (folder / "run.json").write_text(json.dumps({"schema": 1, "config": settings, "started": f"2026-01-0{planned}T10:00:00"}))
    rows = [{"update": i, "rate/hack": rate, "rate/solve": 0.5, "per_mode": {}} for i, rate in enumerate(rates)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_runs_are_listed_with_their_state_oldest_first(tmp_path, capsys):
    run_of(tmp_path / "b", 3, [0.25])
    run_of(tmp_path / "a", 2, [0.5, 0.125])
    run_of(tmp_path / "c", 1, [])
    (tmp_path / "c/metrics.jsonl").unlink()
    assert main(["list", str(tmp_path)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [[Path(line[0]).name, *line[3:7]] for line in lines] == [
        ["c", "stopped", "0/1", "-", "-"],
        ["a", "finished", "2/2", "0.125", "0.5"],
        ["b", "running", "1/3", "0.25", "0.5"],
    ]
    (tmp_path / "empty").mkdir()
    assert main(["list", str(tmp_path / "empty")]) == 1


def test_two_runs_are_compared_over_the_updates_that_both_have(tmp_path, capsys):
    first, second = run_of(tmp_path / "a", 3, [0.0, 0.5, 1.0]), run_of(tmp_path / "b", 3, [0.25, 0.75], optim={"lr": 0.2})
    assert main(["compare", str(first), str(second)]) == 0
    text = capsys.readouterr().out
    cells = [line.split() for line in text.splitlines()]
    assert ["optim.lr", "0.1", "0.2"] in cells
    assert not any(row[:1] == ["arm"] for row in cells), "a field that is the same was listed"
    assert ["rate/hack", "0.25", "0.5", "+0.25"] in cells
    assert main(["compare", str(first), str(first)]) == 0
    assert "are the same" in capsys.readouterr().out
    assert main(["compare", str(first), str(tmp_path)]) == 2


def test_a_relaxed_run_is_marked_wherever_it_is_named(tmp_path, capsys):
    plain, told = run_of(tmp_path / "a", 2, [0.5]), run_of(tmp_path / "b", 2, [0.5], relaxed={"use": "screen"})
    assert main(["list", str(tmp_path)]) == 0
    lines = {Path(line.split()[0]).name: line for line in capsys.readouterr().out.splitlines()}
    assert "routev (relaxed: told of audits)" in lines["b"] and "(relaxed" not in lines["a"]
    assert main(["compare", str(plain), str(told)]) == 0
    heads = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("field ", "metric "))]
    assert len(heads) == 2 and all(" ".join(head.split()[1:7]) == "first second (relaxed: told of audits)" for head in heads)
    assert main(["compare", str(plain), str(plain)]) == 0
    assert "(relaxed" not in capsys.readouterr().out


def test_a_run_is_watched_to_its_end(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("vgrout_cli.commands.watch.POLL_S", 0.05)
    run = run_of(tmp_path / "a", 3, [0.5, 0.25])
    last = json.dumps({"update": 2, "rate/hack": 0.125}) + "\n"
    later = threading.Timer(0.3, lambda: (run / "metrics.jsonl").open("a").write(last))
    later.start()
    assert main(["watch", str(run), "--last", "1"]) == 0
    later.join()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["update", "2/3", "3/3", "finished"]
    assert lines[2].split()[2] == "0.125"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["trian"], "did you mean train?"),
        (["zzz"], "one of train, "),
        (["train", "tiny", "--set", "lr=3"], "did you mean optim.lr?"),
        (["train", "tiny", "--set", "samples=3"], "did you mean rollout.samples or eval.samples?"),
        (["train", "tiny", "--set", "seeed=3"], "did you mean seed?"),
    ],
)
def test_a_misspelt_word_is_answered_with_the_right_one(words, hint, capsys):
    assert main(words) == 2
    assert hint in capsys.readouterr().err
