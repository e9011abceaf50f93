"""Whole runs on a real Ray in which parts are killed: asynchronous with vLLM, and in lock step bit for bit."""

import json
import signal
from collections import Counter
from pathlib import Path

import pytest
from kills import train

from actors.journal import scan
from vgrout.rundir import RunDir

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

TINY = [
    "runtime.learner_threads=1", "runtime.graders=1", "runtime.kv_cache_mib=64", "rollout.prompts=2", "rollout.samples=4",
    "optim.warmup=1", "lora.rank=8", "rollout.max_new_tokens=48",
]  # fmt: skip


def arguments(out: Path, *sets: str) -> list[str]:
    return ["configs/tiny.toml", "--arm", "routev", "--seed", "5", "--out", str(out), *(f"--set={s}" for s in (*TINY, *sets))]


def books(run: Path, updates: int, prompts: int) -> tuple[dict[int, list], Counter]:
    """Batches by update and drops by reason, from the journal; checks that no group counts twice."""
    found = scan((run / "journal.bin").read_bytes())
    assert not found.holes
    batches = {r["update"]: r["keys"] for r in found.records if r["kind"] == "batch"}
    final = [r["ordinal"] for r in found.records if r["kind"] == "drop" and r["final"]]
    consumed = [ordinal for keys in batches.values() for ordinal, _ in keys]
    assert sorted(batches) == list(range(updates)) and len(consumed) == len(set(consumed)) == updates * prompts
    assert not set(consumed) & set(final)
    graded = {r["key"][0] for r in found.records if r["kind"] == "group"}
    assert set(consumed) <= graded <= set(consumed) | set(final)
    return batches, Counter(r["reason"] for r in found.records if r["kind"] == "drop")


@pytest.mark.engine
def test_an_asynchronous_run_survives_its_engine_its_learner_and_its_grader(tmp_path):
    out = tmp_path / "run"
    kills = [("generate-2", "engine-0"), ("publish-3", "learner"), ("checkpoint-4", "learner"), ("generate-6", "grader-0")]
    sets = ("runtime.mode=async", "train.updates=8", "train.checkpoint_every=2")
    code, said = train(arguments(out, *sets), tmp_path / "moments", kills)
    assert code == 0, said[-3000:]
    batches, _ = books(out, 8, 2)
    died = Counter(row["part"] for row in RunDir(out).read("fleet.jsonl"))
    assert died == {"engine-0": 1, "learner": 2, "grader-0": 1}
    metrics = RunDir(out).read("metrics.jsonl")
    assert [m["update"] for m in metrics] == list(range(8))
    assert all({"rollout_wait_s", "backpressure_s", "queue_ready", "mismatch_kl", "dropped"} <= m.keys() for m in metrics)
    rows = RunDir(out).read("rollouts.jsonl")
    assert len(rows) == 8 * 2 * 4 and all(0 <= r["update"] - r["version"] <= 1 for r in rows)
    assert {r["update"]: sorted({x["group"] for x in rows if x["update"] == r["update"]}) for r in rows} == {
        update: [ordinal for ordinal, _ in keys] for update, keys in batches.items()
    }
    # Rollouts of the learner's own version have weight 1 up to float error: what a restarted engine serves is what it says.
    same = [m for m in metrics if m["staleness"] == {"0": 2}]
    assert all(m["mismatch_max"] < 1e-3 for m in same) and RunDir(out).checkpoints()[-1] == 8


def test_an_asynchronous_run_whose_driver_was_killed_replays_what_it_had(tmp_path):
    out = tmp_path / "run"
    sets = ("runtime.mode=async", "runtime.engine=hf", "train.updates=6", "train.checkpoint_every=4")
    code, _ = train(arguments(out, *sets), tmp_path / "first", [("publish-3", "driver")])
    assert code == -9
    before = [r for r in scan((out / "journal.bin").read_bytes()).records if r["kind"] == "batch"]
    assert before and RunDir(out).checkpoints() == [0]
    code, said = train(["--resume", str(out)], tmp_path / "second", [])
    assert code == 0, said[-3000:]
    batches, _ = books(out, 6, 2)
    assert all(batches[r["update"]] == r["keys"] for r in before)  # not sampled again, not taken again
    metrics = RunDir(out).read("metrics.jsonl")
    assert [m["update"] for m in metrics] == list(range(6)) and all(m["replayed"] for m in metrics[: len(before)])


def test_in_lock_step_the_killed_run_ends_in_the_bytes_of_the_other(tmp_path):
    sets = ("runtime.engine=hf", "train.updates=3", "train.checkpoint_every=2")
    kills = [("generate-1", "engine-0"), ("publish-2", "learner"), ("checkpoint-3", "learner")]
    ends = []
    for name, killed in (("whole", []), ("killed", kills)):
        code, said = train(arguments(tmp_path / name, *sets), tmp_path / f"moments-{name}", killed)
        assert code == 0, said[-3000:]
        ends.append((tmp_path / name / "train.safetensors").read_bytes())
        books(tmp_path / name, 3, 2)
    assert ends[0] == ends[1]
    assert Counter(row["part"] for row in RunDir(tmp_path / "killed").read("fleet.jsonl")) == {"engine-0": 1, "learner": 2}
    assert [m["update"] for m in RunDir(tmp_path / "killed").read("metrics.jsonl")] == [0, 1, 2]


def test_sigint_ends_an_asynchronous_run_after_its_update_and_leaves_nothing_behind(tmp_path):
    out, folder = tmp_path / "run", tmp_path / "moments"
    sets = ("runtime.mode=async", "runtime.engine=hf", "train.updates=40", "train.checkpoint_every=40")
    code, said = train(arguments(out, *sets), folder, [("publish-2", "driver")], number=signal.SIGINT)
    assert code == 130 and "--resume" in said, said[-3000:]
    (done,) = [c for c in RunDir(out).checkpoints() if c > 0]
    assert [m["update"] for m in RunDir(out).read("metrics.jsonl")] == list(range(done)) and 1 <= done < 40
    pids = json.loads((folder / "publish-2").read_text())
    assert {"driver", "learner", "engine-0", "grader-0"} <= pids.keys()
    assert not [name for name, pid in pids.items() if alive(pid)]


def alive(pid: int) -> bool:
    """Is a process there, and no zombie?"""
    path = Path(f"/proc/{pid}/stat")
    return path.exists() and path.read_text().rpartition(")")[2].split()[0] != "Z"
