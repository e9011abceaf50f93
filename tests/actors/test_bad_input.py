"""Bad input to `vgrout train`: exit code 2, one message that names the place, nothing half-written, before any Ray is started."""

from pathlib import Path

import pytest

from vgrout_cli.main import main


def lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines(keepends=True)


@pytest.fixture
def broken(tmp_path):
    """Write a broken copy of a data file and return its path."""

    def write(text: str) -> str:
        path = tmp_path / "broken.jsonl"
        path.write_text(text)
        return str(path)

    return write


def fails(capsys, tmp_path, *sets: str) -> str:
    import ray

    out = tmp_path / "run"
    arguments = [x for s in sets for x in ("--set", s)]
    assert main(["train", "configs/tiny.toml", "--out", str(out), *arguments]) == 2
    assert not out.exists() and not ray.is_initialized()
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("vgrout:")]
    assert len(error) == 1
    assert "found" in error[0]
    assert "expected" in error[0]
    return error[0]


def test_unknown_key_and_wrong_type(capsys, tmp_path):
    assert "train.update" in fails(capsys, tmp_path, "train.update=3")
    assert "train.updates" in fails(capsys, tmp_path, "train.updates=many")


def test_missing_model_path(capsys, tmp_path):
    assert "no config.json" in fails(capsys, tmp_path, "model.path=./no/such/model")


def test_rank_above_the_engines_limit(capsys, tmp_path):
    error = fails(capsys, tmp_path, "lora.rank=256")
    assert "lora.rank" in error
    assert "1024" in error
    assert "128" in error


def test_pair_without_a_clean_side(capsys, tmp_path, broken):
    import json

    rows = [json.loads(line) for line in lines("configs/tiny/pairs.jsonl")]
    del rows[2]["clean"]
    error = fails(capsys, tmp_path, f"data.pairs={broken(''.join(json.dumps(r) + chr(10) for r in rows))}")
    assert ":3" in error and "clean" in error


def test_empty_problem_file(capsys, tmp_path, broken):
    assert "broken.jsonl" in fails(capsys, tmp_path, f"data.train={broken('')}")


def test_json_error_in_line_n(capsys, tmp_path, broken):
    text = lines("configs/tiny/train.jsonl")
    text[4] = text[4][:-10] + "\n"
    error = fails(capsys, tmp_path, f"data.train={broken(''.join(text))}")
    assert "broken.jsonl:5" in error and "invalid JSON" in error


def test_test_problems_that_are_also_training_problems(capsys, tmp_path):
    fails(capsys, tmp_path, f"data.test={Path('configs/tiny/train.jsonl').resolve()}")


@pytest.fixture
def wider_tokenizer(tmp_path):
    """The tiny model with a tokenizer that has more ids than its embedding."""
    import json
    import shutil

    folder = tmp_path / "model"
    shutil.copytree("configs/tiny/model", folder)
    path = folder / "tokenizer.json"
    about = json.loads(path.read_text())
    top = max(token["id"] for token in about["added_tokens"])
    size = json.loads((folder / "config.json").read_text())["vocab_size"]
    extra = [{**about["added_tokens"][0], "id": top + n, "content": f"<|extra{n}|>"} for n in range(1, size + 1)]
    path.write_text(json.dumps(about | {"added_tokens": [*about["added_tokens"], *extra]}))
    return folder


def test_a_tokenizer_with_more_ids_than_the_model(capsys, tmp_path, wider_tokenizer):
    error = fails(capsys, tmp_path, f"model.path={wider_tokenizer}")
    assert "model.path" in error
    assert "ids up to" in error
    assert "640" in error


def test_a_checkpoint_of_another_base_or_rank():
    from learner.checkpoint import adapter_bytes, optimizer_bytes, restore
    from learner.learner import Learner
    from vgrout import pairs
    from vgrout.config import load
    from vgrout.errors import UserError

    authored = pairs.load(Path("configs/tiny/pairs.jsonl"))
    config = load(Path("configs/tiny.toml"), sets=["lora.rank=4"])
    learner = Learner(config, authored)
    files = (
        adapter_bytes(learner.lora, config.seed, learner.publish()),
        optimizer_bytes(learner.lora, learner.optimizer, learner.router, 0),
    )
    for change, said in (("lora.rank=8", "A and B of"), ('lora.targets=["q_proj", "lm_head"]', "no module lm_head")):
        other = Learner(load(Path("configs/tiny.toml"), sets=["lora.rank=4", change]), authored)
        with pytest.raises(UserError, match=said):
            restore(other.lora, other.optimizer, other.router, *files)


def test_a_hub_id_that_cannot_be_had(tmp_path, monkeypatch):
    """Offline or unknown, the answer is one message in seconds, not a wait."""
    import subprocess
    import sys

    command = [sys.executable, "-m", "vgrout_cli.main", "train", "configs/tiny.toml", "--set", "model.path=nobody/no-such-model"]
    command += ["--out", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    (line,) = [text for text in done.stderr.splitlines() if text.startswith("vgrout:")]
    assert done.returncode == 2
    assert "model.path" in line
    assert "no-such-model" in line
    assert not (tmp_path / "run").exists()
