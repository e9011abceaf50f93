"""The reference page and the editor's schema are those of the fields; `vgrout config` answers for every field."""

import json
import tomllib

import jsonschema
import pytest

from vgrout.config import load
from vgrout.config_reference import describe, fields, markdown, schema
from vgrout.errors import UserError
from vgrout.presets import packaged
from vgrout_cli.main import main

PAGE = packaged().parent / "docs/reference/config.md"
FILES = [*sorted(packaged().glob("*.toml")), *sorted((packaged() / "arms").glob("*.toml"))]


def test_the_committed_page_and_schema_are_up_to_date():
    assert PAGE.read_text() == markdown(), "make it again: vgrout config --markdown > docs/reference/config.md"
    written = json.loads((packaged() / "schema.json").read_text())
    assert written == json.loads(json.dumps(schema())), "make it again: vgrout config --schema > configs/schema.json"


def test_every_field_says_what_it_means():
    for name, info in fields().items():
        assert info.description and info.description.endswith("."), name
    assert set(load("tiny").to_dict()) == {name.split(".")[0].split("[")[0] for name in fields()}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_schema_accepts_every_shipped_preset_and_arm(path):
    jsonschema.validate(tomllib.loads(path.read_text()), schema())


@pytest.mark.parametrize(
    "text",
    [
        "[lora]\nrnk = 1",
        "[lora]\nrank = 0",
        '[gate]\nrule = "soft"',
        "[gate]\npin = 1",
        '[gate]\nrule = "pinned"\nquantiles = [0.1, 0.2]',
    ],
)
def test_the_schema_refuses_what_the_program_refuses(text):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(tomllib.loads(text), schema())


def test_a_field_or_a_section_is_described(capsys):
    assert main(["config", "rollout.samples"]) == 0
    said = capsys.readouterr().out
    assert "at least 2" in said and "default: 16" in said
    assert describe("gate.upper_scale").count("gate[") == 2 and "optim.lr" in describe("optim")
    assert main(["config"]) == 0
    said = capsys.readouterr().out
    assert [name for name in fields() if name not in said] == []
    with pytest.raises(UserError, match=r"did you mean rollout\.samples"):
        describe("rollout.sample")
