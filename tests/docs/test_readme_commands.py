"""The commands of the README, run as they stand with small settings. tests/test_readme.py says which other test runs the rest."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = [line for block in re.findall(r"```\n(.*?)```", README, re.S) for line in block.splitlines()]
PLANS = [
    line
    for line in (ROOT / "deploy/README.md").read_text().splitlines()
    if line.startswith("vgrout train configs/qwen3-4b.toml --dry-run")
]
SMALL = [
    "train.updates=1",
    "rollout.prompts=2",
    "rollout.samples=2",
    "eval.samples=1",
    "runtime.engine=hf",
    "runtime.backend=local",
]
QUICK = ("vgrout doctor", "vgrout data ", "vgrout simulate", "vgrout train configs/qwen3-4b.toml --dry-run")
CHAIN = ("vgrout train configs/tiny.toml", "vgrout train --resume", "vgrout eval", "vgrout export out", "vgrout report out/my")
GRADE = "vgrout grade "


def vgrout(words: list[str]) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, from the root of the repository."""
    command = [sys.executable, "-m", "vgrout_cli.main", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"})
    assert done.returncode == 0, f"{words}: exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done


@pytest.mark.parametrize("line", list(dict.fromkeys([*(c for c in COMMANDS if c.startswith(QUICK)), *PLANS])))
def test_quick_command_runs(line):
    words = shlex.split(line)[1:]
    if "configs/qwen3-4b.toml" in words:  # the problems of the benchmark are not part of the repository
        words += [w for name in ("train", "test") for w in ("--set", f"data.{name}=configs/tiny/{name}.jsonl")]
    assert vgrout(words).stdout.strip()


def test_grade_runs(tmp_path):
    row = json.loads((ROOT / "configs/tiny/test.jsonl").read_text().splitlines()[0])
    (tmp_path / "P.jsonl").write_text(json.dumps(row) + "\n")
    answer = {"id": row["id"], "completion": f"```python\n{row['canonical_solution']}\n```", "mode": "gt_only"}
    (tmp_path / "C.jsonl").write_text(json.dumps(answer) + "\n")
    (line,) = [c for c in COMMANDS if c.startswith(GRADE)]
    vgrout([str(tmp_path / w) if w.endswith(".jsonl") else w for w in shlex.split(line)[1:]])
    (verdict,) = map(json.loads, (tmp_path / "V.jsonl").read_text().splitlines())
    assert verdict["correct"] is True


@pytest.mark.slow
def test_the_commands_of_a_run_follow_each_other(tmp_path):
    """Train, resume, evaluate, export, report: the lines as they stand, in a folder of the test, with small settings."""
    asked = (ROOT / "configs/tiny/test.jsonl").read_text().splitlines(keepends=True)[:16]
    (tmp_path / "few.jsonl").write_text("".join(asked))
    for line in (c for c in COMMANDS if c.startswith(CHAIN)):
        words = [w.replace("out/", f"{tmp_path}/") if w.startswith("out/") else w for w in shlex.split(line)[1:]]
        if "configs/tiny.toml" in words:
            words += [w for text in (*SMALL, f"data.test={tmp_path / 'few.jsonl'}") for w in ("--set", text)]
        if words[0] == "report":
            words[-1] = str(tmp_path / "report")
        vgrout(words)
    assert (tmp_path / "my-deploy/adapter_model.safetensors").is_file() and (tmp_path / "report/report.html").is_file()
