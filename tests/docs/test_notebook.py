"""The notebook and the page of the Python API do what they say: every cell is run, in order, as a notebook runs it."""

import ast
import inspect
import json
import re
from pathlib import Path

import pytest

from vgrout.errors import UserError
from vgrout_cli import api
from vgrout_cli.api import Run, evaluate, load, train

ROOT = Path(__file__).parents[2]
NOTEBOOK = json.loads((ROOT / "docs/notebooks/first_run.ipynb").read_text())
CELLS = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


@pytest.mark.slow
def test_the_notebook_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space: dict = {"__name__": "__main__"}
    for cell in CELLS:
        exec(compile(cell, "notebook", "exec"), space)
    run = Run(tmp_path / "out/notebook-run")
    assert [row["update"] for row in run.metrics()] == [0, 1] and len(run.rollouts()) == 16
    assert space["record"]["deploy"]["all"]["n"] == 8
    assert (run.path / "eval/validation_00002.json").is_file()
    assert (run.path / "deploy/adapter_model.safetensors").read_bytes() == (
        space["folder"] / "adapter_model.safetensors"
    ).read_bytes()


def test_the_page_calls_what_there_is():
    """Its arguments are those of the functions; the calls themselves are the notebook's."""
    page = (ROOT / "docs/python.md").read_text()
    (block,) = re.findall(r'```python title="api"\n(.*?)```', page, re.S)
    calls = [node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Call)]
    called = {call.func.id: call for call in calls if isinstance(call.func, ast.Name)}
    assert set(called) == {"load", "train", "evaluate", "export"}
    load_call = called["load"]
    config = load(*map(ast.literal_eval, load_call.args), **{k.arg: ast.literal_eval(k.value) for k in load_call.keywords})
    assert (config.arm, config.seed, config.train.updates, config.runtime.backend) == ("routev", 42, 2, "local")
    for name, arguments in re.findall(r"^\| `(\w+)\((.*?)\)` ", page, re.M):
        assert {a.strip(" =") for a in arguments.split(",")} <= set(inspect.signature(getattr(api, name)).parameters)


def test_bad_input_is_one_user_error(tmp_path):
    for wrong in (
        lambda: load("tiny", sets={"optim.lrr": 1}),
        lambda: train(),
        lambda: Run(tmp_path),
        lambda: evaluate(tmp_path),
    ):
        with pytest.raises(UserError):
            wrong()
    assert load("tiny", sets={"lora.targets": ["q_proj", "v_proj"]}).lora.targets == ("q_proj", "v_proj")
    assert load("tiny", sets={"train.gradient_checkpointing": True}).train.gradient_checkpointing
