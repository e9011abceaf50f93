"""Whole runs on the tiny world: bit-identical by seed, blind to audits, resumable, in Ray and without it."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from vgrout.config import from_dict
from vgrout.run_directory import RunDir
from vgrout_cli.main import main

pytestmark = [pytest.mark.engine, pytest.mark.cluster]


def with_backend(config, backend):
    table = config.to_dict()
    table["runtime"]["backend"] = backend
    return from_dict(table, "test")


@pytest.fixture(scope="module")
def in_ray(config, tmp_path_factory):
    """Two updates of routev in Ray actors."""
    from actors.training import train

    return train(with_backend(config, "ray"), tmp_path_factory.mktemp("runs") / "ray")


def adapter(run):
    return (run.path / "train.safetensors").read_bytes()


def test_a_run_without_ray_with_all_audits_flipped_ends_in_the_same_bytes(in_ray, config, tmp_path, monkeypatch):
    """Same seed, other backend, every audit label inverted: the learner cannot know."""
    from actors.ray_cluster.grader_worker import GraderWorker
    from actors.training import train

    honest = GraderWorker.grade

    def flipped(self, jobs):
        return [
            (reward, dataclasses.replace(a, correct=not a.correct, channel=not a.channel, exploited=not a.exploited))
            for reward, a in honest(self, jobs)
        ]

    monkeypatch.setattr(GraderWorker, "grade", flipped)
    run = train(config, tmp_path / "local")
    assert adapter(run) == adapter(in_ray)
    assert (run.path / "deploy/adapter_model.safetensors").read_bytes() == (
        in_ray.path / "deploy/adapter_model.safetensors"
    ).read_bytes()
    ours, theirs = run.read("audits.jsonl"), in_ray.read("audits.jsonl")
    assert [a["correct"] for a in ours] == [not a["correct"] for a in theirs]


def test_a_run_resumed_from_its_first_checkpoint_ends_in_the_same_bytes(in_ray, config, tmp_path):
    from actors.training import train

    copy = tmp_path / "cut"
    shutil.copytree(in_ray.path, copy)
    shutil.rmtree(copy / "checkpoints/00002")
    (copy / "train.safetensors").unlink()
    run = train(config, None, resume=copy)
    assert adapter(run) == adapter(in_ray)
    assert [m["update"] for m in run.read("metrics.jsonl")] == [0, 1]
    assert [r["id"] for r in run.read("rollouts.jsonl")] == [r["id"] for r in in_ray.read("rollouts.jsonl")]


def test_a_run_with_hack_and_clean_sides_exchanged_ends_in_other_bytes(in_ray, config, tmp_path):
    """The pairs decide: the same rollouts of the first update get other labels, and the adapter ends elsewhere."""
    from actors.training import train

    rows = [json.loads(line) for line in Path(config.data.pairs).read_text().splitlines()]
    exchanged = [{**row, "hack": row["clean"], "clean": row["hack"]} for row in rows]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in exchanged))
    table = config.to_dict()
    table["data"]["pairs"] = str(tmp_path / "pairs.jsonl")
    run = train(from_dict(table, "test"), tmp_path / "exchanged")
    assert adapter(run) != adapter(in_ray)
    ours, theirs = ([r for r in found.read("rollouts.jsonl") if r["update"] == 0] for found in (run, in_ray))
    assert [r["completion_ids"] for r in ours] == [r["completion_ids"] for r in theirs]
    assert [r["label"] for r in ours] != [r["label"] for r in theirs]


def test_the_run_directory_says_everything(in_ray, config):
    about = in_ray.about()
    assert about["schema"] == 1 and about["config"]["seed"] == config.seed and about["commit"]
    assert {"torch", "ray", "transformers", "peft"} <= set(about["versions"])
    assert set(about["digests"]) == {"train", "test", "pairs"} and len(about["initial_adapter_digest"]) == 64
    rollouts, audits = in_ray.read("rollouts.jsonl"), in_ray.read("audits.jsonl")
    assert len(rollouts) == len(audits) == 2 * 3 * 4
    for r, a in zip(rollouts, audits, strict=True):
        assert r["id"] == a["rollout_id"] and r["mode"] == about["partition"][str(r["problem_id"])]
        assert r["version"] == r["update"] and r["label"] in ("clean", "mid", "hack") and -1 <= r["score"] <= 1
        assert r["reward"] == 0.5 * a["compiles"] + 3.0 * (a["correct"] or a["channel"])
        assert a["exploited"] == (a["channel"] and not a["correct"])
        assert "correct" not in r and "exploited" not in r
    assert all(m["mismatch/max"] <= 1e-3 and m["canary_gap"] <= 1e-3 for m in in_ray.read("metrics.jsonl"))
    assert in_ray.checkpoints() == [0, 1, 2]


def test_eval_and_export_of_the_run(in_ray, tmp_path, capsys):
    assert main(["eval", str(in_ray.path), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    written = json.loads((in_ray.path / "per_mode_deploy.json").read_text())
    assert printed == written
    modes = {k: v["n"] for k, v in written["deploy"].items()}
    assert modes.pop("all") == sum(modes.values()) and len(modes) == 4 and max(modes.values()) - min(modes.values()) <= 1
    out = tmp_path / "deploy"
    assert main(["export", str(in_ray.path), "--out", str(out)]) == 0
    name = "adapter_model.safetensors"
    assert (out / name).read_bytes() == (in_ray.path / "deploy" / name).read_bytes()
    assert main(["export", str(in_ray.path), "--out", str(out)]) == 2
    assert "existing adapter" in capsys.readouterr().err
    assert main(["export", str(in_ray.path), "--block", "train", "--out", str(tmp_path / "train")]) == 0
    assert "CONTAINS THE QUARANTINE" in capsys.readouterr().err


def test_the_curve_scores_every_checkpoint_and_a_part_of_it_stays_apart(in_ray, tmp_path, capsys):
    monitor = tmp_path / "monitor.json"
    tests = [json.loads(line)["id"] for line in Path("configs/tiny/test.jsonl").read_text().splitlines()]
    monitor.write_text(json.dumps({"ids": tests[:16], "test_sha256": in_ray.about()["digests"]["test"]}))
    assert main(["eval-curve", str(in_ray.path), "--monitor", str(monitor)]) == 0
    assert not (in_ray.path / "eval_curve.jsonl").exists()
    rows = [json.loads(line) for line in (in_ray.path / "eval_curve_monitor.jsonl").read_text().splitlines()]
    assert [row["update"] for row in rows] == [0, 1, 2]
    assert all(row[policy]["all"]["n"] == 16 for row in rows for policy in ("train", "deploy"))
    base = [json.loads((in_ray.path / f"eval/monitor_00000_{p}.json").read_text()) for p in ("train", "deploy")]
    assert [a["completion"] for a in base[0]] == [a["completion"] for a in base[1]]  # the delta is exactly zero at the start
    assert main(["eval-curve", str(in_ray.path), "--monitor", str(tmp_path / "none.json")]) == 2
    assert "vgrout monitor" in capsys.readouterr().err


def test_absorb_and_vanilla_full_share_one_trajectory(config, tmp_path):
    """Both blocks train on everything, unmasked; only what is deployed differs."""
    from actors.training import train
    from vgrout.config import load

    runs = {}
    for arm in ("absorb", "vanilla_full"):
        sets = ["runtime.backend=local", "runtime.learner_threads=1", "runtime.graders=1", "runtime.engine=hf"]
        sets += ["rollout.prompts=2", "rollout.samples=4", "train.updates=1", "optim.warmup=1"]
        runs[arm] = train(load(Path("configs/tiny.toml"), arm=arm, seed=4, sets=sets), tmp_path / arm)
    tensors = [load_tensors(run) for run in runs.values()]
    assert tensors[0].keys() == tensors[1].keys()
    assert all((tensors[0][k] == tensors[1][k]).all() for k in tensors[0])
    ranks = [json.loads((run.path / "deploy/adapter_config.json").read_text())["r"] for run in runs.values()]
    assert ranks == [2 * config.lora.rank, 4 * config.lora.rank]


def load_tensors(run: RunDir):
    from safetensors.torch import load_file

    return load_file(run.path / "train.safetensors")
