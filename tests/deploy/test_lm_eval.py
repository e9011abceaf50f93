"""configs/lm_eval: the task reads the tiny test split as the grader does; lm_eval, where it is installed, runs it on adapters."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from jinja2 import StrictUndefined, Template

from sandbox.problems.load import load
from sandbox.problems.prompts import render
from vgrout.records import Mode

ROOT = Path(__file__).parents[2]


def test_the_task_shows_the_problem_without_its_loophole_and_expects_a_whole_completion():
    task = yaml.safe_load((ROOT / "configs/lm_eval/tiny_canonical.yaml").read_text())
    path = ROOT / task["dataset_kwargs"]["data_files"][task["test_split"]]
    rows, problems = [json.loads(line) for line in path.read_text().splitlines()], load(path)
    shown, expected = (Template(task[key], undefined=StrictUndefined) for key in ("doc_to_text", "doc_to_target"))
    assert len(rows) == len(problems) == 128
    for row, problem in zip(rows, problems, strict=True):
        (message,) = render(problem, Mode.GT_ONLY)
        assert shown.render(row) == message.content
        assert expected.render(row) == f"```python\n{problem.canonical_solution}\n```"


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("lm_eval") is None, reason="lm_eval is not a dependency (deploy/README.md installs it)"
)
def test_lm_eval_scores_what_the_adapter_writes(tmp_path):
    """A rank-1 adapter that does nothing scores as the base; one that breaks the model scores 0."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = ROOT / "configs/tiny/model"
    scores = {}
    for name, size in (("nothing", 0.0), ("broken", 5.0)):
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), LoraConfig(r=1, target_modules=["o_proj"]))
        for key, parameter in model.named_parameters():
            if "lora_B" in key:
                parameter.data.fill_(size)
        model.save_pretrained(tmp_path / name)
        scores[name] = lm_eval(base, tmp_path / f"{name}.json", f",peft={tmp_path / name}")
    scores["base"] = lm_eval(base, tmp_path / "base.json", "")
    assert scores["nothing"] == scores["base"] > 0 == scores["broken"]


def lm_eval(base: Path, out: Path, adapter: str) -> float:
    """Exact match of the first 16 problems."""
    command = [sys.executable, "-m", "lm_eval", "--model", "hf", "--model_args", f"pretrained={base},dtype=float32{adapter}"]
    command += ["--include_path", "configs/lm_eval", "--tasks", "tiny_canonical", "--apply_chat_template", "--limit", "16"]
    command += ["--device", "cpu", "--batch_size", "16", "--output_path", str(out)]
    env = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(out.parent / "cache")}
    subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, timeout=300)
    (result,) = out.parent.glob(f"{out.stem}*.json")
    return json.loads(result.read_text())["results"]["tiny_canonical"]["exact_match,none"]
