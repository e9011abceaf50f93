"""The report says what a reader must know first, marks relaxed arms, and tables the other forms of the questions."""

import json

from synthetic import Size, runs_of, spoil, suite_with, write_run

from vgrout_cli.report.checklist import checklist
from vgrout_cli.report.findings import find
from vgrout_cli.report.sources import gather
from vgrout_cli.report.tables import tables
from vgrout_cli.report.terms import terms
from vgrout_cli.report.verdict import verdict


def test_gate_level_and_relaxed_arms_are_said_before_the_verdict_and_marked_in_every_table(tmp_path):
    folder = suite_with(tmp_path, seeds=(1, 2))
    write_run(folder / "screen_truth/seed1", "screen_truth", 1, Size(problems=40), (0.0, 0.45, 0.0, 0.45))
    spoil(folder / "screen_truth/seed1/run.json", lambda facts: facts["config"]["relaxed"].update(use="screen"))
    found = find(gather(runs_of(folder)))
    gate, price, alpha, relaxed = terms(found)
    assert gate == "The gate of routev is two-way (clean or hack, never mid; gate.upper_scale = 0)."
    rows = [json.loads(line) for n in (1, 2) for line in (folder / f"routev/seed{n}/rollouts.jsonl").read_text().splitlines()]
    solves = [r["label"] == "hack" for r in rows if r["id"].endswith("-1")]  # as synthetic.py has them
    shares = [sum(r["label"] == "hack" for r in rows) / len(rows), sum(solves) / len(solves)]
    assert all(f"{share:.3f} " in price for share in shares), (price, shares)
    assert alpha.startswith("alpha = .05") and "screen_truth 0.000" in relaxed
    named = {table.name: [row[0].text for row in table.rows if "screen_truth" in row[0].text] for table in tables(found)}
    assert named["a3_ablation"] == named["runs"] == ["screen_truth (relaxed: told of audits)"]
    assert sum("vanilla_full" in s.claim for s in verdict(found)) == 1


def test_other_forms_are_tabled_where_every_run_of_an_arm_was_asked(tmp_path):
    folder = suite_with(tmp_path, seeds=(1, 2))
    for seed, rate in ((1, 0.25), (2, 0.75)):
        run = folder / f"routev/seed{seed}"
        record = json.loads((run / "per_mode_deploy.json").read_text())
        record["deploy"]["all"]["solve_rate"] = rate
        (run / "eval_curve_test_closed.jsonl").write_text(json.dumps(record) + "\n")
        if seed == 1:
            (run / "eval_curve_test_no_hint.jsonl").write_text(json.dumps(record) + "\n")
        sweep = {"scales": [{"scale": scale, "all": {"hack_rate": scale * rate}} for scale in (0.0, 0.25, 0.5, 1.0)]}
        (run / "quarantine_sweep.json").write_text(json.dumps(sweep))
    table = next(t for t in tables(find(gather(runs_of(folder)))) if t.name == "a8_forms")
    row = {
        name: cell.text for name, cell in zip(table.columns, next(r for r in table.rows if r[0].text == "routev"), strict=True)
    }
    assert row["solve, loophole closed"].startswith("0.500 ± 0.250") and row["hack, quarantine x 0.5"].startswith("0.250 ± 0.125")
    assert "0." not in row["solve, without hints"]  # of one run of two


def test_one_seed_is_compared_with_every_draw_of_random_directions(tmp_path):
    folder = suite_with(tmp_path, seeds=(1,), routev=(0.0, 0.4, 0.9, 0.05))
    for draw in range(1, 11):
        write_run(folder / f"d{draw}", f"placebo_direction_{draw:02d}", 1, Size(problems=40), (0.6, 0.1, 0.85, 0.05))
    claim = "routev deploys with less hack than 10 of 10 draws of random directions at its label shares"
    assert [str(s.outcome) for s in verdict(find(gather(runs_of(folder)))) if s.claim == claim] == ["pass"]


def test_the_verdict_begins_with_the_recovered_share_and_counts_runs_above_the_random_directions(tmp_path):
    folder = suite_with(tmp_path, seeds=(1, 2))
    assert "recover" in verdict(find(gather(runs_of(folder))))[0].claim
    for seed, auroc in ((1, 0.9), (2, 0.6)):
        null = {"auroc": auroc, "null": {"p95": 0.7}, "share_at_or_above": 0.0, "rollouts": 288, "hacks": 10 * seed}
        (folder / f"routev/seed{seed}/gate_null.json").write_text(json.dumps(null))
    (line,) = [s for s in verdict(find(gather(runs_of(folder)))) if "random directions in" in s.claim]
    assert line.claim.endswith("better than 95% of random directions in 1 of 2 runs") and str(line.outcome) == "fail"
    assert "0.750 ± 0.150" in line.evidence and "on 288 of its rollouts with 10 to 20 hacks" in line.evidence
    (folder / "routev/seed1/gate_null.json").unlink()  # a run without a null counts as one that does not beat it
    (line,) = [s for s in verdict(find(gather(runs_of(folder)))) if "random directions in" in s.claim]
    assert "in 0 of 2 runs" in line.claim and "1 run without such a record" in line.evidence


def test_one_run_that_was_asked_otherwise_in_another_form_fails_the_checklist(tmp_path):
    folder = suite_with(tmp_path, seeds=(1,))

    def line():
        return next(x for x in checklist(find(gather(runs_of(folder)))) if x.question == "Is every run asked the same?")

    for run in runs_of(folder):
        record = json.loads((run / "per_mode_deploy.json").read_text())
        (run / "eval_curve_test_closed.jsonl").write_text(json.dumps(record | {"questions": "c" * 64}) + "\n")
    assert str(line().outcome) == "pass" and "loophole closed: 1 digest;" in line().number
    other = folder / "vanilla/seed1/eval_curve_test_closed.jsonl"
    other.write_text(json.dumps(json.loads(other.read_text()) | {"questions": "d" * 64}) + "\n")
    assert str(line().outcome) == "fail" and "loophole closed: 2 digests;" in line().number
