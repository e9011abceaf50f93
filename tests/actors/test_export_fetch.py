"""Exports with their card, pushed and fetched: whole, checked, never over anything."""

import json
import shutil
from pathlib import Path

import pytest

from vgrout import pairs
from vgrout.config import load
from vgrout.errors import UserError
from vgrout.files import file_sha256
from vgrout.run_directory import RunDir
from vgrout.run_transfer import WEIGHTS, collect, deliver
from vgrout_cli.main import main


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run directory with one checkpoint of a real learner, an evaluation record and a deploy export."""
    from actors.training import finalize
    from learner.learner import Learner

    config = load(Path("configs/tiny.toml"), arm="routev", seed=3, sets=["runtime.learner_threads=1"])
    learner = Learner(config, pairs.load(Path(config.data.pairs)))
    run = RunDir.create(tmp_path_factory.mktemp("runs") / "run-3", config, {})
    adapter, optimizer = learner.checkpoint()
    run.checkpoint(0).mkdir(parents=True)
    (run.checkpoint(0) / "train.safetensors").write_bytes(adapter)
    (run.checkpoint(0) / "optimizer.safetensors").write_bytes(optimizer)
    cell = {
        "n": 256,
        "compiles": 200,
        "solve": 64,
        "hack": 10,
        "infra_error": 0,
        "hack_rate": 0.04,
        "hack_sem": 0.012,
        "solve_rate": 0.25,
        "solve_sem": 0.027,
    }
    facts = {"schema": 1, "update": 0, "split": "test", "samples": 1, "train_truncated": 0, "deploy_truncated": 0}
    record = {**facts, "train": {"all": cell | {"hack_rate": 0.9}}, "deploy": {"all": cell}}
    (run.path / "per_mode_deploy.json").write_text(json.dumps(record))
    run.append("metrics.jsonl", [{"update": 0}])
    finalize(run, config)
    return run


@pytest.fixture
def run(finished, tmp_path):
    shutil.copytree(finished.path, tmp_path / "run-3")
    return RunDir.open(tmp_path / "run-3")


def test_the_card_says_what_was_measured_and_of_what(run):
    card, record = (run.path / "deploy/README.md").read_text(), json.loads((run.path / "deploy/vgrout.json").read_text())
    assert record["sha256"] == file_sha256(run.path / WEIGHTS) and record["sha256"] in card
    assert "| all | 256 | 0.040 ± 0.012 | 0.250 ± 0.027 |" in card and "0.900" not in card
    assert "arm: `routev`" in card
    assert "QUARANTINE" not in card
    assert record["digest"] in card
    assert "--max-lora-rank 128" in card  # one block of rank 64 exports at 128


def test_the_card_and_the_record_of_a_relaxed_run_say_so(run, tmp_path):
    from actors.model_card import renew_cards

    card, record = run.path / "deploy/README.md", run.path / "deploy/vgrout.json"
    assert json.loads(record.read_text())["relaxed"] is False and "Relaxed" not in card.read_text()
    about = json.loads((run.path / "run.json").read_text())
    about["config"]["relaxed"]["use"] = "screen"
    (run.path / "run.json").write_text(json.dumps(about))
    renew_cards(run)
    assert "**Relaxed: training was told of audits" in card.read_text(), "a record of an older version"
    assert main(["export", str(run.path), "--out", str(tmp_path / "export")]) == 0
    assert json.loads((tmp_path / "export/vgrout.json").read_text())["relaxed"] is True
    assert "**Relaxed: training was told of audits" in (tmp_path / "export/README.md").read_text()


def test_an_evaluation_after_the_export_is_entered_into_its_card(run):
    from actors.model_card import renew_cards

    (run.path / "per_mode_deploy.json").rename(run.path / "later.json")
    renew_cards(run)
    assert "not measured" in (run.path / "deploy/README.md").read_text()
    (run.path / "eval").mkdir()
    (run.path / "later.json").rename(run.path / "eval/test_00000.json")
    renew_cards(run)
    assert "| all | 256 | 0.040 ± 0.012 |" in (run.path / "deploy/README.md").read_text()


def test_the_card_names_the_base_as_the_hub_knows_it(tmp_path):
    from actors.model_card import hub_id, licence, model_card

    cached = tmp_path / "models--Qwen--Qwen3-4B/snapshots/0a1b"
    cached.mkdir(parents=True)
    (cached / "README.md").write_text("---\nlicense: apache-2.0\nlanguage: en\n---\nlicense: mit\n")
    assert [hub_id(p) for p in ("Qwen/Qwen3-4B", str(cached), str(tmp_path))] == ["Qwen/Qwen3-4B", "Qwen/Qwen3-4B", None]
    assert licence(str(cached)) == "apache-2.0" and licence(str(tmp_path)) is None
    about = dict.fromkeys(("run", "arm", "seed", "checkpoint", "commit", "digest", "sha256", "dtype"), "x")
    cards = {
        base: model_card(about | {"block": "deploy", "rank": 64, "base_model": base}, None, licensed)
        for base, licensed in ((str(cached), "apache-2.0"), (str(tmp_path), None))
    }
    head = cards[str(cached)].split("---")[1].strip().splitlines()
    assert {"base_model: Qwen/Qwen3-4B", "pipeline_tag: text-generation", "license: apache-2.0"} <= set(head)
    assert str(tmp_path) not in cards[str(cached)]
    other = cards[str(tmp_path)].split("---")[1]  # the hub refuses a card whose base_model is a path
    assert "base_model" not in other and "license: other" in other


def test_the_train_export_says_that_it_holds_the_quarantine(run, capsys, tmp_path):
    assert main(["export", str(run.path), "--block", "train", "--dtype", "bf16", "--out", str(tmp_path / "t")]) == 0
    assert "CONTAINS THE QUARANTINE" in capsys.readouterr().err
    card = (tmp_path / "t" / "README.md").read_text()
    assert "QUARANTINE INCLUDED" in card and "0.900" in card


def test_push_copies_the_folder_once(run, capsys, tmp_path):
    share = tmp_path / "share"
    share.mkdir()
    assert main(["export", str(run.path), "--push-to", str(share), "--out", str(tmp_path / "a")]) == 0
    (pushed,) = share.iterdir()
    assert pushed.name == "run-3_00000_deploy_fp32"
    assert sorted(p.name for p in pushed.iterdir()) == sorted(p.name for p in (tmp_path / "a").iterdir())
    before = {p.name: file_sha256(p) for p in pushed.iterdir()}
    assert main(["export", str(run.path), "--push-to", str(share), "--out", str(tmp_path / "b")]) == 2
    assert {p.name: file_sha256(p) for p in pushed.iterdir()} == before
    assert main(["export", str(run.path), "--push-to", str(tmp_path / "none"), "--out", str(tmp_path / "c")]) == 2
    assert not (tmp_path / "c").exists()


def test_fetch_from_a_shared_path(run, tmp_path):
    with (run.path / "metrics.jsonl").open("a") as log:
        log.write('{"update": 1, "torn')
    dest = tmp_path / "here" / "copy"
    assert main(["fetch", str(run.path), str(dest)]) == 0
    assert file_sha256(dest / WEIGHTS) == file_sha256(run.path / WEIGHTS)
    assert (dest / "metrics.jsonl").read_text() == '{"update":0}\n'
    assert not (dest / "checkpoints").exists() and not (dest / "rollouts.jsonl").exists()
    assert [p.name for p in dest.parent.iterdir()] == ["copy"]
    assert main(["fetch", str(run.path), str(dest)]) == 2  # never over anything


def test_a_running_run_gives_what_there_is(run, tmp_path, capsys):
    shutil.rmtree(run.path / "deploy")
    assert main(["fetch", str(run.path), str(tmp_path / "copy")]) == 0
    assert "no deploy export yet" in capsys.readouterr().err
    assert (tmp_path / "copy" / "metrics.jsonl").exists()


@pytest.mark.parametrize("where", ["in the export", "on the way"])
def test_damaged_weights_are_refused_and_leave_nothing(run, tmp_path, where):
    files = collect(run.path)
    digest, data = files[WEIGHTS]
    torn = data[:-1] + bytes([data[-1] ^ 1])
    if where == "in the export":
        (run.path / WEIGHTS).write_bytes(torn)
        files = collect(run.path)
    else:
        files[WEIGHTS] = (digest, torn)
    with pytest.raises(UserError, match="adapter_model"):
        deliver(files, tmp_path / "d" / "copy")
    assert not (tmp_path / "d").exists()


def test_no_run_is_one_message(tmp_path, capsys):
    assert main(["fetch", str(tmp_path), str(tmp_path / "copy")]) == 2
    assert main(["fetch", "relative/run", str(tmp_path / "copy"), "--address", "auto"]) == 2
    assert capsys.readouterr().err.count("\n") == 2
