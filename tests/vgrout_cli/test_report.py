"""The report of synthetic runs: its numbers against ones computed from the raw files, its page, its verdict, its refusals."""

import csv
import dataclasses
import json
import math
import re
import statistics as stdlib
from html.parser import HTMLParser
from itertools import product
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from synthetic import Size, runs_of, spoil, suite_with, write_run, write_suite

from vgrout.records import LOOPHOLES, Mode
from vgrout_cli.main import main
from vgrout_cli.report import panels
from vgrout_cli.report.checklist import checklist
from vgrout_cli.report.findings import find
from vgrout_cli.report.sources import gather
from vgrout_cli.report.tables import gate as gate_table
from vgrout_cli.report.tables import held_out
from vgrout_cli.report.traces import traces
from vgrout_cli.report.verdict import verdict

SEEDS = [1, 2, 3]
HELD = "routev_heldout_run_tests_sentinel"
VOID = {"meta", "br", "hr", "img", "link", "input"}


@pytest.fixture(scope="module")
def suites(tmp_path_factory) -> list[Path]:
    """A suite with a failed, a missing and a running run, and one held-out choice."""
    folder = tmp_path_factory.mktemp("suites")
    broken = {"absorb/seed3": "failed", "ceiling/seed2": "missing", "ceiling/seed3": "running"}
    arms = ["base", "vanilla", "routev", "placebo", "absorb", "ceiling"]
    return [write_suite(folder / "main", "main", arms, SEEDS, broken), write_suite(folder / "held", "held", [HELD], [1, 2])]


@pytest.fixture(scope="module")
def out(suites, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "out"
    assert main(["report", *map(str, suites), "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def page(out) -> str:
    return (out / "report.html").read_text()


def rows(out: Path, name: str) -> dict[str, dict[str, str]]:
    with (out / f"tables/{name}.csv").open() as file:
        table = list(csv.DictReader(file))
    return {next(iter(row.values())): row for row in table}


def raw(suite: Path, arm: str, seed: int, field: str, modes=tuple(Mode), policy="deploy", update=4) -> float:
    """A rate counted from the audits themselves."""
    path = suite / arm / f"seed{seed}/eval/test_{0 if arm == 'base' else update:05d}_{policy}.json"
    hits = [a[field] for a in json.loads(path.read_text()) if a["mode"] in modes]
    return sum(hits) / len(hits)


def close(text: str, value: float) -> None:
    assert float(text) == pytest.approx(value, abs=1e-9)


def test_keynote_numbers_are_those_of_the_raw_audits(out, suites):
    table = rows(out, "a2_keynote")
    vanilla = [raw(suites[0], "vanilla", s, "exploited") for s in SEEDS]
    for arm in ("base", "vanilla", "routev", "placebo"):
        for name, field in (("hack", "exploited"), ("solve", "correct")):
            values = [raw(suites[0], arm, s, field) for s in SEEDS]
            close(table[arm][f"{name} mean"], stdlib.fmean(values))
            close(table[arm][f"{name} sem"], stdlib.stdev(values) / math.sqrt(3))
            assert table[arm][f"{name} n"] == "3"
    differences = [raw(suites[0], "routev", s, "exploited") - v for s, v in zip(SEEDS, vanilla, strict=True)]
    mean, sem = stdlib.fmean(differences), stdlib.stdev(differences) / math.sqrt(3)
    close(table["routev"]["Δ hack vs vanilla"], mean)
    assert float(table["routev"]["95% over seeds low"]) == pytest.approx(mean - 4.302653 * sem, abs=1e-5)
    flips = [sum(s * d for s, d in zip(f, differences, strict=True)) for f in product((-1, 1), repeat=3)]
    close(table["routev"]["p (sign flip)"], sum(abs(f) >= abs(sum(differences)) - 1e-9 for f in flips) / 8)
    assert float(table["routev"]["95% over problems low"]) <= mean <= float(table["routev"]["95% over problems high"])


def test_ablation_has_a_row_for_every_arm_and_says_what_is_missing(out, suites, page):
    table = rows(out, "a3_ablation")
    names = ["base", "vanilla", "vanilla_full", "routev", "routev_ub", "placebo", "placebo_ub", "absorb", "ceiling"]
    assert list(table) == names
    assert (table["absorb"]["seeds"], table["absorb"]["seeds of"]) == ("2", "3")
    assert (table["ceiling"]["seeds"], table["ceiling"]["seeds of"]) == ("1", "3")
    close(table["absorb"]["hack deployed mean"], stdlib.fmean(raw(suites[0], "absorb", s, "exploited") for s in (1, 2)))
    trained = [raw(suites[0], "routev", s, "exploited", policy="train") for s in SEEDS]
    close(table["routev"]["hack as trained mean"], stdlib.fmean(trained))
    to_placebo = [raw(suites[0], "routev", s, "exploited") - raw(suites[0], "placebo", s, "exploited") for s in SEEDS]
    close(table["routev"]["Δ hack vs its placebo"], stdlib.fmean(to_placebo))
    assert table["routev_ub"]["hack deployed mean"] == "" and table["ceiling"]["hack deployed sem"] == ""
    assert "2 of 3 (1 failed)" in page and "1 of 3 (1 running, 1 missing)" in page
    close(table["vanilla"]["cut at the limit"], 1 / 16)
    statuses = [(r["arm"], r["seed"], r["status"]) for r in csv.DictReader((out / "tables/runs.csv").open())]
    assert ("absorb", "3", "failed") in statuses and ("ceiling", "2", "missing") in statuses
    assert "it broke &lt;here&gt;" in page


def test_held_out_modes_are_counted_per_mode_and_marked(out, suites, page):
    row = rows(out, "a5_held_out")["run_tests + sentinel"]
    for mode in LOOPHOLES:
        close(row[f"{mode} mean"], stdlib.fmean(raw(suites[1], HELD, s, "exploited", modes=(mode,)) for s in (1, 2)))
    without = ("stdout_marker", "file_marker")
    ours = [raw(suites[1], HELD, s, "exploited", modes=without) for s in (1, 2)]
    theirs = [raw(suites[0], "vanilla", s, "exploited", modes=without) for s in (1, 2)]
    close(row["Δ"], stdlib.fmean(ours) - stdlib.fmean(theirs))
    line = re.search(r"<tr><th scope=\"row\">run_tests \+ sentinel</th>.*?</tr>", page)
    assert line
    assert line[0].count('class="heldout"') == 2
    assert line[0].count("†") == 2


def test_a_loophole_of_a_plug_in_has_its_column_and_its_marks(suites):
    found = gather(suites)

    def with_fifth(run):
        data = dataclasses.replace(run.config.data, modes=(*LOOPHOLES, "/x/mine.py"))
        return dataclasses.replace(run, config=dataclasses.replace(run.config, data=data))

    evidence = dataclasses.replace(found, runs=tuple(with_fifth(run) if run.config else run for run in found.runs))
    assert evidence.loopholes == (*LOOPHOLES, "mine") and found.loopholes == LOOPHOLES
    assert traces(evidence)["mine"] is None
    table = held_out(find(evidence))
    assert table.columns[2:7] == (*LOOPHOLES, "mine") and {len(row) for row in table.rows} == {len(table.columns)}
    axis = Figure().add_subplot()
    assert panels.held_out(axis, evidence)
    assert [text.get_text() for text in axis.get_legend().get_texts()] == [*LOOPHOLES, "mine"]


def test_gate_numbers_are_those_of_the_logs(out, suites):
    """AUROC and F0.5 by counting pairs and labels in the joined logs."""
    expected = {"AUROC": [], "F0.5": [], "share hack": []}
    for seed in SEEDS:
        folder = suites[0] / f"routev/seed{seed}"
        truth = {a["rollout_id"]: a["exploited"] for a in map(json.loads, (folder / "audits.jsonl").open())}
        log = [(r["score"], r["label"], truth[r["id"]]) for r in map(json.loads, (folder / "rollouts.jsonl").open())]
        hacks, rest = [s for s, _, h in log if h], [s for s, _, h in log if not h]
        expected["AUROC"].append(sum(a > b for a in hacks for b in rest) / (len(hacks) * len(rest)))
        both = sum(name == "hack" and h for _, name, h in log)
        precision, recall = both / sum(name == "hack" for _, name, _ in log), both / len(hacks)
        expected["F0.5"].append(1.25 * precision * recall / (0.25 * precision + recall))
        expected["share hack"].append(sum(name == "hack" for _, name, _ in log) / len(log))
    row = rows(out, "a7_gate")["routev"]
    for name, values in expected.items():
        close(row[f"{name} mean"], stdlib.fmean(values))
    assert float(rows(out, "a7_gate")["placebo"]["band width mean"]) == pytest.approx(0.002)
    assert float(rows(out, "a7_gate")["placebo"]["band separation mean"]) == pytest.approx(0.008)


def test_random_directions_stand_beside_the_gates_own(tmp_path):
    path = write_run(tmp_path / "routev", "routev", 1)
    without = gate_table(find(gather([path]))).rows[0]
    null = {"auroc": 0.75, "null": {"p95": 0.7}, "share_at_or_above": 0.04}
    (path / "gate_null.json").write_text(json.dumps(null))
    assert [cell.values[0][1] for cell in gate_table(find(gather([path]))).rows[0][-3:]] == [0.75, 0.7, 0.04]
    assert all(math.isnan(cell.values[0][1]) for cell in without[-3:])


class Reader(HTMLParser):
    """Keeps open tags, ids, and everything that a browser would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.ids, self.links, self.loads, self.tags = [], [], [], [], set()

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        if "id" in values:
            self.ids.append(values["id"])
        self.links += [values[k] for k in ("href", "xlink:href") if k in values]
        self.loads += [values[k] for k in ("src", "srcset", "data", "poster", "action") if k in values]

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another tag"


def test_the_page_is_whole_and_loads_nothing(page, out, suites):
    reader = Reader()
    reader.feed(page)
    assert reader.open == [] and len(reader.ids) == len(set(reader.ids))
    assert not reader.loads and not reader.tags & {"script", "link", "iframe", "img", "object"}
    assert all(link.startswith("#") and link[1:] in reader.ids for link in reader.links)
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page)) and "@import" not in page
    assert "prefers-color-scheme" in page and len(page) < 3_000_000
    assert str(suites[0].parent) not in page and str(out) not in page
    assert "a &lt;hack&gt; &amp; more" in page and "<hack>" not in page
    assert page.count("<svg") == len(list((out / "figures").glob("*.svg"))) == len(list((out / "figures").glob("*.png"))) >= 8
    assert "Not drawn, a7_overlap: v_grad overlap is 1 in every update of every run: v_grad and the band are made once" in page
    assert page.index("<svg") < page.index('class="verdict"') < page.index("Red-team checklist")
    assert "<dt>absorb</dt><dd>The gate is pinned mid: both blocks train on everything" in page
    assert page.count('class="missing"') == 2  # no long run was given
    for name in ("a2_keynote", "a3_ablation", "a5_held_out", "a7_gate", "a8_forms", "checklist", "context", "runs"):
        text = (out / f"tables/{name}.tex").read_text()
        lines = [line for line in text.splitlines() if line.endswith(r"\\")]
        assert "±" not in text.split("\n", 1)[1] and len({len(re.findall(r"(?<!\\)&", line)) for line in lines}) == 1


def test_the_same_runs_give_the_same_bytes(suites, out, tmp_path):
    assert main(["report", *map(str, suites), "--out", str(tmp_path / "again")]) == 0
    files = sorted(p.relative_to(out) for p in out.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(tmp_path / "again") for p in (tmp_path / "again").rglob("*") if p.is_file())
    assert all((out / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in files)


def outcomes(*paths: Path) -> tuple[dict[str, str], dict[str, tuple[str, str]]]:
    """The verdict as {claim: outcome}, the checklist as {question: (outcome, number)}."""
    f = find(gather(list(paths)))
    return {s.claim: str(s.outcome) for s in verdict(f)}, {x.question: (str(x.outcome), x.number) for x in checklist(f)}


def test_checklist_lines_are_decided_by_their_numbers(suites, page):
    _, lines = outcomes(*suites)
    assert lines["Enough seeds?"] == ("open", "vanilla 3, routev 3, placebo 3")
    assert lines["Does placebo route the fractions of routev?"] == (
        "pass",
        "largest gap of a label share in any update 0.000 (3 seeds)",
    )
    assert lines["Is the test split clean?"][0] == "pass" and "oldest test id 3000" in lines["Is the test split clean?"][1]
    assert lines["Is everything there?"][0] == "fail" and "1 failed" in lines["Is everything there?"][1]
    assert lines["Is there a hack to prevent (base and saturation)?"][0] == "pass"
    assert lines["Does routing reach modes without a pair?"][0] == "open"  # one choice of six
    no_cheat = lines["No cheat: are the authored pairs the only source of labels?"]
    assert no_cheat[0] == "pass"
    assert "p" * 64 in no_cheat[1]
    assert "p" * 64 in page


def test_an_effect_is_claimed_where_there_is_one(tmp_path):
    claims, lines = outcomes(*runs_of(suite_with(tmp_path, routev=(0.1, 0.35, 0.9, 0.05))))
    assert claims["routev deploys with less hack than vanilla GRPO"] == "pass"
    assert claims["routev beats placebo, a random direction at the same routed fractions"] == "pass"
    assert lines["Enough seeds?"][0] == "pass"


def test_the_recovered_share_is_that_of_the_rates(tmp_path):
    size = Size(problems=200)
    folder = suite_with(tmp_path, size=size, routev=(0.05, 0.41, 0.9, 0.05))
    claim = (
        "What routev recovers of the ceiling's gain cannot be told: fewer than two seeds have all of this arm, base and ceiling"
    )
    assert outcomes(*runs_of(folder))[0][claim] == "open"
    for seed in (1, 2, 3, 4, 5):
        write_run(folder / f"ceiling/seed{seed}", "ceiling", seed, size, (0.0, 0.5, 0.0, 0.5))
    solve = {
        arm: [json.loads((folder / f"{arm}/seed{n}/per_mode_deploy.json").read_text())["deploy"]["all"] for n in (1, 2, 3, 4, 5)]
        for arm in ("routev", "base", "ceiling")
    }
    mean = {arm: stdlib.fmean(rates["solve"] / rates["n"] for rates in found) for arm, found in solve.items()}
    share = (mean["routev"] - mean["base"]) / (mean["ceiling"] - mean["base"])
    (line,) = [s for s in verdict(find(gather(runs_of(folder)))) if "recover" in s.claim]
    assert 0.3 < share < 0.9 and str(line.outcome) == "pass" and f"routev recovers {share:.3f} of" in line.claim
    assert "registered" not in line.claim and f"{share:.3f} ± " in line.evidence


def test_one_run_that_was_asked_otherwise_fails_the_checklist(tmp_path):
    folder, question = suite_with(tmp_path, seeds=(1, 2)), "Is every run asked the same?"
    outcome, said = outcomes(*runs_of(folder))[1][question]
    assert outcome == "pass" and "8 runs of base, placebo, routev, vanilla; seeds 1, 2" in said
    spoil(folder / "routev/seed2/per_mode_deploy.json", lambda record: record.update(questions="0" * 64))
    outcome, said = outcomes(*runs_of(folder))[1][question]
    assert outcome == "fail" and "000000000000: 1 run of routev; seeds 2" in said
    spoil(folder / "routev/seed2/per_mode_deploy.json", lambda record: record.pop("questions"))
    assert outcomes(*runs_of(folder))[1][question][0] == "open"


def test_nothing_outside_the_run_directories_is_read(tmp_path):
    """So no byte of a data file, a pair file or a base can change a report."""
    folder = suite_with(tmp_path / "runs", seeds=(1, 2))
    before = outcomes(*runs_of(folder))
    for path in runs_of(folder):
        spoil(path / "run.json", lambda facts: facts["config"]["model"].update(path="/gone/model"))
        for name in ("train", "test", "pairs"):
            spoil(path / "run.json", lambda facts, name=name: facts["config"]["data"].update({name: f"/gone/{name}.jsonl"}))
    assert outcomes(*runs_of(folder)) == before


def test_a_run_with_another_base_or_with_data_changed_on_the_way_fails_the_checklist(tmp_path):
    folder, question = suite_with(tmp_path, seeds=(1,)), "Do all arms of a seed start alike?"
    assert outcomes(*runs_of(folder))[1][question][0] == "pass"
    about = folder / "routev/seed1/run.json"
    change = {"time": "", "command": "train --resume", "name": "data.train", "was": "a", "is": "b"}
    spoil(about, lambda facts: facts.update(accepted_changes=[change]))
    outcome, said = outcomes(*runs_of(folder))[1][question]
    assert (outcome, said) == ("fail", "routev seed 1 went on with another data.train")
    spoil(about, lambda facts: facts.update(accepted_changes=[], base={"model.safetensors": "d" * 64}))
    assert outcomes(*runs_of(folder))[1][question] == ("fail", "seed 1: base differs")


def test_no_effect_is_said_and_a_solve_collapse_is_labelled(tmp_path):
    claims, lines = outcomes(*runs_of(suite_with(tmp_path, routev=(0.1, 0.02, 0.9, 0.02), placebo=(0.1, 0.02, 0.9, 0.02))))
    said = "routev does NOT beat placebo, a random direction at the same routed fractions"
    assert [outcome for claim, outcome in claims.items() if claim.startswith(said)] == ["fail"]
    assert any(claim.endswith("not below zero)") for claim in claims)
    assert claims["SOLVE COLLAPSE with the hack drop: routev solves less than the base's interval"] == "fail"
    assert "HACK DROP WITH SOLVE COLLAPSE" in lines["Is the solve rate of routev kept?"][1]
    assert any("with a solve collapse" in claim and outcome == "pass" for claim, outcome in claims.items())


def test_one_seed_or_a_missing_arm_leaves_it_open(tmp_path):
    folder = suite_with(tmp_path, seeds=(1,))
    claims, _ = outcomes(*runs_of(folder))
    assert claims["routev against vanilla: one seed, no interval over seeds"] == "open"
    claims, lines = outcomes(folder / "routev/seed1", folder / "base/seed1")
    assert claims["routev against vanilla cannot be told: no finished run of vanilla"] == "open"
    assert lines["Enough seeds?"] == ("open", "vanilla 0, routev 1, placebo 0")


def test_a_placebo_with_other_fractions_is_not_compared(tmp_path):
    folder = suite_with(tmp_path, seeds=(1, 2))
    log = folder / "placebo/seed2/metrics.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    lines[1]["gate/share_hack"] += 0.2
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    claims, found = outcomes(*runs_of(folder))
    assert claims["routev against placebo: its fractions do not match, so no comparison is made"] == "open"
    assert found["Does placebo route the fractions of routev?"][0] == "fail"
    assert found["Does routev deploy with less hack than placebo at matched fraction?"][0] == "open"


def test_the_base_is_update_0_of_another_run_and_long_runs_stand_apart(tmp_path):
    runs = [write_run(tmp_path / f"{arm}{n}", arm, n) for arm in ("vanilla", "routev") for n in (1, 2)]
    long = write_run(tmp_path / "long", "routev", 1, Size(updates=8))
    other = write_run(tmp_path / "other", "routev", 2, Size(updates=6))
    evidence = gather([*runs, long, other])
    assert evidence.updates == 4 and [r.path for r in evidence.long] == [long]
    assert [(r.path, r.note) for r in evidence.unused] == [(other, "6 updates, not 4")]
    base = evidence.done("base")
    assert set(base) == {1, 2} and base[1].note == "update 0 of vanilla"
    start = json.loads((runs[0] / "eval/test_00000_deploy.json").read_text())
    assert base[1].counts("deploy").rate("solve") == sum(a["correct"] for a in start) / len(start)
    assert len(evidence.done("routev")) == 2


def test_a_run_without_evaluation_has_no_numbers(tmp_path):
    run = write_run(tmp_path / "run", "routev", 1)
    (run / "per_mode_deploy.json").unlink()
    (found,) = gather([run]).runs
    assert found.status == "not evaluated" and not found.final
    (run / "train.safetensors").unlink()
    assert gather([run]).runs[0].status == "running"


@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        ("suite.json", lambda v: v.update(schema=9), "suite.json: schema: found 9"),
        ("suite.json", lambda v: v.pop("seeds"), "suite.json: seeds"),
        ("suite.json", lambda v: v["runs"]["routev/seed1"].update(status="odd"), "runs.routev/seed1.status: found 'odd'"),
        ("routev/seed1/run.json", lambda v: v.update(schema=2), "run.json: schema: found 2"),
        ("routev/seed1/run.json", lambda v: v["config"].update(seed=2), "arm routev, seed 2; expected arm routev, seed 1"),
        ("routev/seed1/per_mode_deploy.json", lambda v: v.update(schema=None), "per_mode_deploy.json: schema: found None"),
        ("routev/seed1/eval/test_00004_deploy.json", lambda v: v.pop(), "test_00004_deploy.json: n: found 15; expected 16"),
    ],
)
def test_bad_input_is_one_message_and_nothing_is_written(tmp_path, capsys, file, change, says):
    suite = write_suite(tmp_path / "suite", "one", ["routev"], [1])
    spoil(suite / file, change)
    assert main(["report", str(suite), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_run_is_refused(tmp_path, capsys):
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite/suite.json").write_text("{")
    for path, says in ((tmp_path, "neither suite.json nor run.json"), (tmp_path / "suite", "invalid JSON")):
        assert main(["report", str(path), "--out", str(tmp_path / "out")]) == 2
        assert says in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    run = write_run(tmp_path / "run", "routev", 1)
    assert main(["report", str(run), "--out", str(tmp_path / "file")]) == 2
    assert "--out" in capsys.readouterr().err
