"""SIGKILL of everything that can be killed, during generation, publish and checkpoint, in both modes, on a real Ray and vLLM.

What is meant to happen is the table in deploy/README.md; each test here is one run through many of its cells.
"""

from collections import Counter
from pathlib import Path

import pytest
from journals import scan
from kills import train
from tiny_run import arguments, check_journal

from vgrout.run_directory import RunDir

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

# On a GPU vLLM's core is a process of its own, with the worker in it; on the CPU it is one with any number here but 0 (all in
# the actor, the default of this project) and 1 (a third process for the worker).
CORE = {"VLLM_ENABLE_V1_MULTIPROCESSING": "2"}
UPDATES, LOCK_STEP_UPDATES = 26, 16
# Of a killed program's grader nothing more is asked for two updates, so that it is there to run one.
# Between an engine's death and its core's lie two versions: what is published next finds an engine that is there again.
KILLS = [
    ("generate-1", "jailed"), ("publish-2", "engine-0"), ("checkpoint-4", "core"), ("generate-7", "learner"),
    ("publish-8", "jailed"), ("checkpoint-10", "grader-0"), ("generate-13", "core"), ("publish-13", "grader-0"),
    ("checkpoint-14", "engine-0"), ("generate-17", "engine-0"), ("publish-19", "core"), ("checkpoint-18", "learner"),
    ("generate-21", "grader-0"), ("publish-21", "learner"), ("checkpoint-22", "jailed"),
]  # fmt: skip
LOCK_STEP_KILLS = KILLS[:8]  # every victim, every point
SETS = ("train.checkpoint_every=2", "runtime.restarts=10")


def every_death_is_named_and_killed_programs_were_run_again(run: Path, kills: list[tuple[str, str]]) -> None:
    victims = Counter("engine-0" if victim == "core" else victim for _, victim in kills)
    programs = victims.pop("jailed")
    assert Counter(row["part"] for row in RunDir(run).read("fleet.jsonl")) == victims
    audits = RunDir(run).read("audits.jsonl")
    assert sum("killed" in a["notes"] for a in audits) == programs
    assert not [a for a in audits if a["status"] in ("infra_error", "oom")]


@pytest.mark.engine
def test_an_asynchronous_run_survives_every_kill(tmp_path):
    out = tmp_path / "run"
    code, said = train(
        arguments(out, "runtime.mode=async", f"train.updates={UPDATES}", *SETS), tmp_path / "points", KILLS, **CORE
    )
    assert code == 0, said[-3000:]
    batches, _ = check_journal(out, UPDATES, 2)
    every_death_is_named_and_killed_programs_were_run_again(out, KILLS)
    metrics = RunDir(out).read("metrics.jsonl")
    assert [m["update"] for m in metrics] == list(range(UPDATES))
    assert all({"time/wait_rollouts", "time/backpressure", "queue/ready", "mismatch/kl", "dropped"} <= m.keys() for m in metrics)
    rows = RunDir(out).read("rollouts.jsonl")
    assert len(rows) == UPDATES * 2 * 4 and all(0 <= r["update"] - r["version"] <= 1 for r in rows)
    assert {r["update"]: sorted({x["group"] for x in rows if x["update"] == r["update"]}) for r in rows} == {
        update: [ordinal for ordinal, _ in keys] for update, keys in batches.items()
    }
    # What a restarted engine serves is what it says: one digest per version, and the learner's own log-probabilities.
    assert len({(r["version"], r["digest"]) for r in rows}) == len({r["version"] for r in rows})
    same = [m for m in metrics if m["staleness"] == {"0": 2}]
    assert all(m["mismatch/max"] < 1e-3 for m in same) and RunDir(out).checkpoints()[-1] == UPDATES


@pytest.mark.engine
def test_in_lock_step_a_run_with_kills_ends_in_the_bytes_of_one_with_none(tmp_path):
    length = f"train.updates={LOCK_STEP_UPDATES}"
    code, said = train(arguments(tmp_path / "whole", length, *SETS), tmp_path / "points-whole", [], **CORE)
    assert code == 0, said[-3000:]
    code, said = train(arguments(tmp_path / "killed", length, *SETS), tmp_path / "points", LOCK_STEP_KILLS, **CORE)
    assert code == 0, said[-3000:]
    assert (tmp_path / "killed/train.safetensors").read_bytes() == (tmp_path / "whole/train.safetensors").read_bytes()
    check_journal(tmp_path / "killed", LOCK_STEP_UPDATES, 2)
    every_death_is_named_and_killed_programs_were_run_again(tmp_path / "killed", LOCK_STEP_KILLS)
    assert [m["update"] for m in RunDir(tmp_path / "killed").read("metrics.jsonl")] == list(range(LOCK_STEP_UPDATES))


# The driver and the raylet of its only node (a raylet's other workers are the actors): each ends the run, and a person or the
# platform goes on with --resume. The two modes take turns, so that every point has both. Engines are of transformers here, for
# what is tested is on this side of them, and at staleness 0 they skip no version, so that every point comes.
LIVES = {
    "async": [("generate-1", "driver"), ("publish-3", "raylet"), ("checkpoint-4", "driver")],
    "sync": [("generate-1", "raylet"), ("publish-3", "driver"), ("checkpoint-4", "raylet")],
}
LIVES_UPDATES = 6
CHAIN = ("runtime.engine=hf", "runtime.max_staleness=0", f"train.updates={LIVES_UPDATES}", "train.checkpoint_every=2")


def live_again_and_again(out: Path, folder: Path, mode: str) -> None:
    """One run through all LIVES; what a life had put into the journal is what the next ones train on."""
    words, taken = arguments(out, f"runtime.mode={mode}", *CHAIN), {}
    for number, kill in enumerate([*LIVES[mode], None]):
        code, said = train(words, folder / str(number), [kill] if kill else [])
        assert (code == 0) == (kill is None), said[-3000:]
        words = ["--resume", str(out)]
        batches = {r["update"]: r["keys"] for r in scan((out / "journal.bin").read_bytes()).records if r["kind"] == "batch"}
        assert batches.items() >= taken.items()
        taken = batches
    assert [m["update"] for m in RunDir(out).read("metrics.jsonl")] == list(range(LIVES_UPDATES))


def test_an_asynchronous_run_goes_on_after_its_driver_or_its_node(tmp_path):
    live_again_and_again(tmp_path / "run", tmp_path / "lives", "async")
    check_journal(tmp_path / "run", LIVES_UPDATES, 2)


def test_in_lock_step_a_run_of_four_lives_ends_in_the_bytes_of_one(tmp_path):
    code, said = train(arguments(tmp_path / "whole", "runtime.backend=local", *CHAIN), tmp_path / "points", [])
    assert code == 0, said[-3000:]
    live_again_and_again(tmp_path / "run", tmp_path / "lives", "sync")
    assert (tmp_path / "run/train.safetensors").read_bytes() == (tmp_path / "whole/train.safetensors").read_bytes()
    check_journal(tmp_path / "run", LIVES_UPDATES, 2)
