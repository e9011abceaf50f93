"""The report's traces and figures: reasons for labels, other forms of the questions, captions."""

import re
import shutil

from synthetic import Size, write_run

from vgrout.records import LOOPHOLES
from vgrout_cli.main import main


def test_a_trace_says_why_each_completion_has_its_label(tmp_path):
    """Of the score and the band in the logs."""
    run = write_run(tmp_path / "routev", "routev", 1, Size(updates=8, rollouts=16))
    assert main(["report", str(run), "--out", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out/report.html").read_text()
    said = re.findall(
        r"gate label (\w+) \(it trains [\w ]+\): its score is ([+−][\d.]+), (\w+) the band \[\+0.000, \+0.070\]", page
    )
    assert len(said) == 2 * len(LOOPHOLES)
    for label, score, place in said:
        value = float(score.replace("−", "-"))
        assert place == ("below" if value < 0 else "above" if value > 0.07 else "inside")
        assert label == {"below": "clean", "inside": "mid", "above": "hack"}[place]


def test_other_forms_of_the_questions_are_drawn_where_they_were_asked(tmp_path):
    run = write_run(tmp_path / "routev", "routev", 1, Size())
    shutil.copy(run / "eval_curve.jsonl", run / "eval_curve_test_novel.jsonl")
    assert main(["report", str(run), "--out", str(tmp_path / "out")]) == 0
    drawn = {path.stem for path in (tmp_path / "out/figures").glob("a8_*.svg")}
    assert drawn == {"a8_test_novel_hack", "a8_test_novel_solve"}
    said = (tmp_path / "out/report.html").read_text()
    assert "Not drawn, a8_monitor_hack: no finished run has eval_curve_monitor.jsonl" in said
    captions = (tmp_path / "out/figures/captions.txt").read_text().split("\n\n")
    assert {caption.split(":")[0] for caption in captions} == {path.stem for path in (tmp_path / "out/figures").glob("*.svg")}


def test_comparators_are_drawn_beside_the_main_arms_and_apart_from_draws_of_directions(tmp_path):
    """By the labels of the rows; a report without a comparator says so."""
    runs = [str(write_run(tmp_path / arm, arm, 1, Size())) for arm in ("vanilla", "routev", "placebo_direction_01")]
    assert main(["report", *runs, "--out", str(tmp_path / "a")]) == 0
    assert "Not drawn, a3_comparators: no finished run of another arm" in (tmp_path / "a/report.html").read_text()
    runs.append(str(write_run(tmp_path / "inoculation", "inoculation", 1, Size())))
    assert main(["report", *runs, "--out", str(tmp_path / "b")]) == 0
    rows = re.findall(r">([\w, ]+) \((\d)\)<", (tmp_path / "b/figures/a3_comparators.svg").read_text())
    assert rows == [("vanilla", "1"), ("routev", "1"), ("inoculation", "1")]
