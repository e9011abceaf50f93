"""What a run was made of: any byte of any input file changed after its start is noticed by resume, eval and export.

The run directory is begun without training: what is compared is what `train` writes into run.json.
"""

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.evaluation import Exam, check_asked, exam_digest
from actors.made_of import base_here, canary_for, check_base, fix_date
from actors.rollouts.dataset import load_dataset
from actors.training import check_made_of, dataset_facts
from vgrout import template_date
from vgrout.config import load
from vgrout.errors import UserError
from vgrout.run_directory import RunDir

TINY = Path(__file__).parents[2] / "configs/tiny"
DATA = ("train", "test", "pairs")
BASE = (
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(run, its configuration, its data as loaded) on copies of all files, begun on a day long ago."""
    folder = tmp_path_factory.mktemp("made")
    shutil.copytree(TINY / "model", folder / "model")
    for name in DATA:
        shutil.copy(TINY / f"{name}.jsonl", folder)
    sets = [f"model.path={folder}/model", *(f"data.{name}={folder}/{name}.jsonl" for name in DATA)]
    config = load(TINY.parent / "tiny.toml", arm="vanilla", seed=1, sets=sets)
    patch = pytest.MonkeyPatch()
    patch.setenv(template_date.VARIABLE, "2001-02-03")
    dataset = load_dataset(config)
    run = RunDir.create(folder / "run", config, dataset_facts(config, dataset))
    run.write_checkpoint(0, b"", b"", {})
    yield run, config, dataset
    patch.undo()


def flipped(path: Path, place: int) -> bytes:
    """Change one byte of a file; its bytes as they were."""
    before = path.read_bytes()
    after = bytearray(before)
    after[place % len(before)] ^= 1
    path.write_bytes(after)
    return before


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(DATA), place=st.integers(0, 2**40))
def test_a_byte_of_a_data_file_is_noticed_wherever_it_decides(made, name, place):
    run, config, dataset = made
    path = Path(getattr(config.data, name))
    before = flipped(path, place)
    try:
        with pytest.raises(UserError, match="accept-changes") as caught:
            check_made_of(run, config, dataset, False)
        assert str(path) in str(caught.value)
        for split in ("train", "test"):
            if split == name:
                with pytest.raises(UserError, match="accept-changes"):
                    check_asked(run, config, dataset, Exam(split, split), False)
            else:  # an evaluation asks none of the file's problems
                check_asked(run, config, dataset, Exam(split, split), False)
        check_base(run, config, "export", False)  # an export reads no data
    finally:
        path.write_bytes(before)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(BASE), place=st.integers(0, 2**40))
def test_a_byte_of_the_base_is_noticed_everywhere(made, name, place):
    run, config, dataset = made
    path = Path(config.model.path) / name
    before = flipped(path, place)
    try:
        for check in (
            lambda: check_made_of(run, config, dataset, False),
            lambda: check_asked(run, config, dataset, Exam(), False),
            lambda: check_base(run, config, "export", False),
        ):
            with pytest.raises(UserError, match="accept-changes") as caught:
                check()
            assert name in str(caught.value)
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize("change", ["a file more", "a file less"])
def test_files_that_come_and_go_are_changes(made, change):
    run, config, _ = made
    model = Path(config.model.path)
    if change == "a file more":
        (model / "added.json").write_text("{}")
    else:
        (model / "generation_config.json").rename(model / "kept.bak")
    try:
        with pytest.raises(UserError, match="accept-changes"):
            check_base(run, config, "export", False)
    finally:
        (model / "added.json").unlink(missing_ok=True)
        if (model / "kept.bak").exists():
            (model / "kept.bak").rename(model / "generation_config.json")
    check_base(run, config, "export", False)


def test_an_accepted_change_leaves_a_trace_and_is_from_then_on_what_the_run_is_made_of(made, tmp_path):
    run, config, dataset = made
    copy = RunDir(shutil.copytree(run.path, tmp_path / "run"))
    path = Path(config.data.test)
    before = flipped(path, 5)
    try:
        check_made_of(copy, config, dataset, True)
        (trace,) = copy.about()["accepted_changes"]
        assert trace["name"] == "data.test" and trace["was"] == run.about()["digests"]["test"] != trace["is"]
        check_made_of(copy, config, dataset, False)
    finally:
        path.write_bytes(before)
    with pytest.raises(UserError):
        check_made_of(copy, config, dataset, False)


def test_answers_are_keyed_by_all_that_decides_them(made):
    _, config, dataset = made
    keys = {exam_digest(config, dataset, Exam())}
    keys.add(exam_digest(config, dataset, Exam("test", "train")))
    for change in ("eval.temperature=0.5", "eval.samples=5", "eval.seed=9", "rollout.max_new_tokens=9", "runtime.engine=hf"):
        keys.add(exam_digest(load_again(config, change), dataset, Exam()))
    for path in (Path(config.data.test), Path(config.model.path) / "config.json"):
        before = flipped(path, 3)
        keys.add(exam_digest(config, dataset, Exam()))
        path.write_bytes(before)
    assert len(keys) == 9
    assert exam_digest(config, dataset, Exam()) in keys


def load_again(config, change):
    from vgrout.config import from_dict
    from vgrout.toml_tables import merge, parse_set

    return from_dict(merge(config.to_dict(), parse_set(change)), "test")


def test_date_and_canary_are_the_runs_own(made, monkeypatch):
    run, config, dataset = made
    monkeypatch.setenv(template_date.VARIABLE, "2030-01-01")
    fix_date(run)
    assert template_date.strftime_now()("%d %b %Y") == "03 Feb 2001"
    fix_date(None)
    assert template_date.strftime_now()("%Y-%m-%d") == template_date.today()
    monkeypatch.setenv(template_date.VARIABLE, "2001-02-03")
    reordered = load_again(config, "eval.seed=0")
    path = Path(config.data.pairs)
    before = path.read_text()
    path.write_text("".join(reversed(before.splitlines(keepends=True))))
    try:
        assert canary_for(run, load_dataset(reordered)) == canary_for(run, dataset)
    finally:
        path.write_text(before)
    assert base_here(config)
