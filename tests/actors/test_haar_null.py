"""`vgrout gate-null`: the gate's direction beside random ones, on a run's own rollouts."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_run import arguments

from actors.haar_null import FILE, auroc
from vgrout_cli.main import main
from vgrout_cli.report.statistics import auroc as by_ranks

SETS = ("runtime.backend=local", "runtime.engine=hf", "train.updates=2", "train.checkpoint_every=1")
CURRENT = ("gate.probe_policy=current", "gate.refresh_every=1")
OLDER = (
    "gate.probe_policy=current",
    "gate.refresh_every=2",
    "gate.upper_scale=9",
    "optim.lr=0.02",
)  # all train the deployed block


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2).filter(lambda x: len({p for _, p in x}) == 2))
def test_auroc_is_that_of_ranks(cases):
    scores, truth = [s for s, _ in cases], [p for _, p in cases]
    assert auroc(torch.tensor([scores, scores]).float(), truth).tolist() == pytest.approx([by_ranks(scores, truth)] * 2)


@pytest.fixture(scope="module", params=[(), CURRENT, OLDER], ids=["initial", "current", "older"])
def run(request, tmp_path_factory) -> Path:
    """A run of two updates; every second rollout is called a hack afterwards, so that there are some."""
    out = tmp_path_factory.mktemp("null") / "run"
    assert main(["train", *arguments(out, *SETS, *request.param)]) == 0
    rows = [json.loads(line) for line in (out / "audits.jsonl").read_text().splitlines()]
    text = "".join(json.dumps(row | {"exploited": place % 2 == 0}) + "\n" for place, row in enumerate(rows))
    (out / "audits.jsonl").write_text(text)
    return out


def test_it_probes_what_the_gate_saw_and_its_draws_repeat(run, capsys):
    assert main(["gate-null", str(run), "--draws", "40"]) == 0
    record = json.loads((run / FILE).read_text())
    # Probed again, the scores are those that the learner logged, so their AUROC is the report's.
    rows = [json.loads(line) for line in (run / "rollouts.jsonl").read_text().splitlines()]
    hacks = {row["rollout_id"]: row["exploited"] for row in map(json.loads, (run / "audits.jsonl").read_text().splitlines())}
    # Equal completions may differ in the last bits, since they were probed in other company: either way round is right.
    truth = [hacks[r["id"]] for r in rows]
    least, most = (
        by_ranks([r["score"] + shift * hack for r, hack in zip(rows, truth, strict=True)], truth) for shift in (-1e-5, 1e-5)
    )
    assert least <= record["auroc"] <= most < least + 0.2
    assert (record["rollouts"], record["hacks"], record["null"]["draws"]) == (len(rows), len(rows) // 2, 40)
    assert 0 < record["null"]["sd"] < 0.5 and 0.2 < record["null"]["mean"] < 0.8
    assert record["null"]["mean"] < record["null"]["p95"] <= record["null"]["largest"]
    said = capsys.readouterr().out
    assert f"{record['auroc']:.3f}" in said
    assert main(["gate-null", str(run), "--draws", "40"]) == 0
    assert json.loads((run / FILE).read_text()) == record


def test_runs_without_a_direction_or_without_hacks_are_refused(run, capsys):
    audits = (run / "audits.jsonl").read_text()
    (run / "audits.jsonl").write_text(audits.replace('"exploited": true', '"exploited": false'))
    (run / FILE).unlink(missing_ok=True)
    assert main(["gate-null", str(run)]) == 2
    assert "found 0 hacks in" in capsys.readouterr().err
    (run / "audits.jsonl").write_text(audits)
    about = json.loads((run / "run.json").read_text())
    about["config"]["gate"] = {"rule": "pinned", "pin": "mid"}
    (run / "run.json").write_text(json.dumps(about))
    assert main(["gate-null", str(run)]) == 2
    assert "gate.rule: found 'pinned'" in capsys.readouterr().err
    assert not (run / FILE).exists()
