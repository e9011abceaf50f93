"""A run with a teacher and hint-free prompts, in one process: what is recorded of whom, and what the learner trained on."""

import json
from pathlib import Path

import pytest

from vgrout.config import load

SETS = ["runtime.backend=local", "runtime.engine=hf", "runtime.learner_threads=1", "runtime.graders=1", "lora.rank=8"]
SETS += ["rollout.prompts=2", "rollout.samples=4", "rollout.max_new_tokens=32", "train.updates=2", "train.checkpoint_every=1"]
SETS += ["optim.warmup=1", "rollout.hint_free_share=0.5"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    from actors.rollouts.dataset import load_dataset
    from actors.training import train

    folder = tmp_path_factory.mktemp("taught")
    dataset = load_dataset(load(Path("configs/tiny.toml"), seed=3, sets=SETS))
    rows = [{"problem_id": i, "mode": m, "completion": "# taught", "reward": 3.5}
            for i in dataset.train_ids[:6] for m in (dataset.modes[i], "gt_only")]  # fmt: skip
    (folder / "teacher.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    sets = [*SETS, f"teacher.path={folder / 'teacher.jsonl'}", "teacher.until=1"]
    return train(load(Path("configs/tiny.toml"), arm="routev", seed=3, sets=sets), folder / "run"), dataset


def test_a_teachers_rollouts_are_trained_on_marked_and_in_no_rate(run):
    made, _ = run
    first, second = made.read("metrics.jsonl")
    assert (first["rollouts"], first["teacher_rollouts"]) == (6, 2) and (second["rollouts"], second["teacher_rollouts"]) == (8, 0)
    rows, audits = made.read("rollouts.jsonl"), made.read("audits.jsonl")
    teacher = [r for r in rows if r["author"] == "teacher"]
    assert len(rows) == 16
    assert [r["update"] for r in teacher] == [0, 0]
    assert {r["author"] for r in rows} == {"student", "teacher"}
    assert {a["rollout_id"] for a in audits if a["update"] == 0} == {r["id"] for r in rows if r["update"] == 0} - {
        r["id"] for r in teacher
    }
    assert sum(c["n"] for mode, c in first["per_mode"].items() if mode != "all") == first["per_mode"]["all"]["n"] == 6
    assert first["reward/mean"] == pytest.approx(
        sum(r["reward"] for r in rows if r["update"] == 0 and r["author"] == "student") / 6
    )
    for r in teacher:  # scored, labelled and given an advantage against its group's students
        group = [x["reward"] for x in rows if x["group"] == r["group"]]
        assert r["reward"] == 3.5
        assert r["label"] in ("clean", "mid", "hack")
        assert -1 <= r["score"] <= 1
        assert r["advantage"] == pytest.approx(3.5 - sum(group) / 4 if len(set(group)) > 1 else 0.0)
    assert "# taught" in {r["text"] for r in teacher} and all(first[k] == first[k] for k in ("mismatch/kl", "mismatch/max"))


def test_hint_free_rollouts_are_counted_and_graded_without_a_flaw(run):
    made, dataset = run
    audits = made.read("audits.jsonl")
    free = [a for a in audits if a["mode"] == "gt_only"]
    assert [m["hint_free"] for m in made.read("metrics.jsonl")] == [sum(a["update"] == u for a in free) for u in (0, 1)]
    assert free and not any(a["exploited"] for a in free)
    rows = made.read("rollouts.jsonl")
    prompts = {r["group"]: tuple(r["prompt_ids"]) for r in rows if "prompt_ids" in r}  # once in a group
    for r in rows:
        hinted = dataset.prompt(r["problem_id"])
        assert (prompts[r["group"]] == hinted) == (r["mode"] != "gt_only")


def test_the_run_says_which_teacher(run):
    from vgrout.files import file_sha256

    made, _ = run
    assert made.about()["digests"]["teacher"] == file_sha256(Path(made.config().teacher.path))
