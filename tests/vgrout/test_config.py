"""Configuration: overlays, --set, and one clear message per kind of bad input."""

from pathlib import Path

import pytest

from vgrout.config import from_dict, load
from vgrout.errors import UserError
from vgrout.named_files import names
from vgrout.presets import packaged
from vgrout_cli.main import main

PRESET = """
[model]
path = "./base"
[data]
train = "./train.jsonl"
test = "./test.jsonl"
pairs = "/abs/pairs.jsonl"
[lora]
rank = 8
"""


@pytest.fixture
def preset(tmp_path: Path) -> Path:
    (tmp_path / "arms").mkdir()
    (tmp_path / "arms" / "routev.toml").write_text('[gate]\nrule = "pairs"\n')
    (tmp_path / "arms" / "vanilla.toml").write_text('[gate]\nrule = "pinned"\npin = "clean"\n')
    path = tmp_path / "small.toml"
    path.write_text(PRESET)
    return path


def test_later_layers_win_preset_then_arm_then_set(preset):
    config = load(preset, arm="vanilla", seed=5, sets=["lora.rank=16", "optim.betas=[0.8, 0.95]", "gate.pin=mid"])
    assert (config.preset, config.arm, config.seed) == ("small", "vanilla", 5)
    assert config.gate.rule == "pinned" and config.gate.pin == "mid"
    assert config.lora.rank == 16 and config.optim.betas == (0.8, 0.95)


def test_relative_paths_are_relative_to_the_file_and_hub_ids_stay(preset):
    config = load(preset)
    assert config.model.path == str(preset.parent / "base")
    assert config.data.train == str(preset.parent / "train.jsonl")
    assert config.data.pairs == "/abs/pairs.jsonl"
    assert load(preset, sets=["model.path=Qwen/Qwen3-4B"]).model.path == "Qwen/Qwen3-4B"


def test_the_file_of_a_loophole_is_named_like_any_other_file(preset, tmp_path):
    text = preset.read_text()
    preset.write_text(text.replace("[data]\n", '[data]\nmodes = ["sentinel", "./mine.py"]\nheld_out = ["mine"]\n'))
    data = load(preset).data
    assert data.modes == ("sentinel", str(preset.parent / "mine.py"))
    assert data.mode_names == ("sentinel", "mine") and data.plug_ins == {"mine": preset.parent / "mine.py"}


def test_the_resolved_config_round_trips_through_json(preset):
    import json

    config = load(preset, sets=['data.held_out=["sentinel"]'])
    assert from_dict(json.loads(json.dumps(config.to_dict())), "run.json") == config


@pytest.mark.parametrize("arm", names(packaged() / "arms"))
def test_every_shipped_arm_loads(arm):
    sets = ["gate.fractions=[0.5, 0.2, 0.3]"] if arm.startswith("placebo") else []
    assert load("tiny", arm=arm, sets=sets).arm == arm


@pytest.mark.parametrize("preset", names(packaged()))
def test_every_shipped_preset_loads_by_name_and_by_path(preset):
    assert load(preset) == load(packaged() / f"{preset}.toml")


BAD = [
    (["lora.rnk=8"], "lora.rnk", "did you mean lora.rank?"),
    (["lora.rank=eight"], "lora.rank", "'eight' (str)"),
    (["lora.rank=true"], "lora.rank", "True (bool); expected a whole number"),
    (["lora.rank=0"], "lora.rank", "at least 1"),
    (["gate.rule=soft"], "gate.rule", "'pinned', 'given', 'pairs', 'quantile', 'matched'"),
    (["gate.rule=quantile", "gate.quantiles=[0.9, 0.1]"], "gate.quantiles", "lower <= upper"),
    (["gate.quantiles=[0.1, 0.9]"], "gate.quantiles", "an unknown key"),
    (["data.modes=[]"], "data.modes", "at least one"),
    (['data.modes=["sentinels"]'], "data.modes[0]", "'sentinels'"),
    (['data.modes=["mine/sentinel.py"]'], "data.modes", "the file name sentinel.py"),
    (['data.modes=["My-Own.py"]'], "data.modes", "a file name of the form [a-z][a-z0-9_]*.py"),
    (['data.modes=["a/mine.py", "b/mine.py"]'], "data.modes", "'mine' twice"),
    (['data.modes=["mine"]'], "data.modes[0]", "or the path of a Python file"),
    (['data.held_out=["mine"]'], "data.held_out", "'mine'; expected some of run_tests, stdout_marker, sentinel, file_marker"),
    (['data.pair_tags=["other"]', 'data.modes=["mine.py"]'], "data.pair_tags", "file_marker, mine, general"),
    (["rollout.temperature=0"], "rollout.temperature", "above 0"),
    (["gate=3"], "gate", "a table"),
    (["nonsense"], "nonsense", "section.field=value"),
    (["runtime.max_lora_rank=16"], "lora.rank", "at most 4"),
]


@pytest.mark.parametrize(("sets", "where", "said"), BAD)
def test_bad_fields_are_named_with_found_and_expected(preset, sets, where, said):
    with pytest.raises(UserError) as caught:
        load(preset, sets=sets)
    assert where in str(caught.value) and said in str(caught.value)


def test_exit_code_is_2_with_one_line_on_stderr(preset, capsys, tmp_path):
    out = tmp_path / "run"
    assert main(["train", str(preset), "--set", "lora.rnk=8", "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "lora.rnk" in error
    assert not out.exists()


def test_missing_files_and_arms_are_named(preset):
    with pytest.raises(UserError, match="no such file"):
        load(preset.parent / "absent.toml")
    with pytest.raises(UserError, match="did you mean routev"):
        load(preset, arm="routex")
    preset.write_text("model = [")
    with pytest.raises(UserError, match="invalid TOML"):
        load(preset)
