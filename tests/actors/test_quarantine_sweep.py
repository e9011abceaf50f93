"""Adapters made from others: that of a scale s computes the base, the deployed block, and s times the quarantine; and what a
sweep over scales writes is what evaluations of the two ends say."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load as tensors_of

from actors import quarantine_sweep
from actors.evaluation import Exam, evaluate
from actors.made_of import fix_date
from actors.quarantine_sweep import FILE, scaled, write_sweeps
from actors.rollouts.dataset import load_dataset
from actors.training import dataset_facts
from learner.learner import Learner
from learner.lora2r import Policy
from vgrout import pairs
from vgrout.config import load
from vgrout.errors import UserError
from vgrout.files import read_json, to_json
from vgrout.run_directory import RunDir


def some_pairs(config):
    return pairs.load(Path(config.data.pairs))[:2]


@pytest.fixture(scope="module")
def learner():
    config = load(
        "tiny", arm="vanilla", seed=4, sets=["lora.rank=4", "lora.targets=['v_proj','down_proj']", "runtime.learner_threads=1"]
    )
    learner = Learner(config, some_pairs(config))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in learner.lora.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return learner


def delta(adapter, name, rows):
    found = {k.removeprefix("base_model.model."): v for k, v in tensors_of(adapter.train).items()}
    a, b = found[f"{name}.lora_A.weight"], found[f"{name}.lora_B.weight"]
    return b[:, rows] @ a[rows]


def test_the_quarantine_is_scaled_and_the_deployed_block_is_not(learner):
    before = learner.checkpoint()
    whole = learner.publish()
    none, half, all_of_it = scaled(learner, (0.0, 0.5, 1.0))
    assert learner.checkpoint() == before
    assert [one.version for one in (none, half, all_of_it)] == [0, 1, 2]
    rank = learner.lora.rank
    deployed, quarantine = slice(0, 2 * rank), slice(2 * rank, 4 * rank)
    for name in learner.lora.modules:
        for one, scale in ((none, 0.0), (half, 0.5), (all_of_it, 1.0)):
            assert torch.equal(delta(one, name, deployed), delta(whole, name, deployed))
            assert torch.allclose(delta(one, name, quarantine), scale * delta(whole, name, quarantine), atol=1e-6)
    assert none.canary_train == pytest.approx(whole.canary_deploy, abs=1e-4)
    assert all_of_it.canary_train == whole.canary_train
    assert half.canary_train != pytest.approx(whole.canary_train, abs=1e-4)
    with torch.no_grad(), learner.lora.policy(Policy.TRAIN):
        assert learner.publish().digest == whole.digest


def test_a_warm_start_begins_with_the_other_runs_factors_and_refuses_another_seed(learner, tmp_path):
    from dataclasses import replace

    file = tmp_path / "train.safetensors"
    file.write_bytes(learner.checkpoint()[0])
    warm = replace(learner.config, train=replace(learner.config.train, warm_start=str(file)))
    begun = Learner(warm, some_pairs(warm))
    assert begun.version == 0 and begun.publish().digest == learner.publish().digest
    assert begun.initial_digest() == learner.initial_digest() and begun.canary_base == learner.canary_base
    with pytest.raises(UserError, match="same seed"):
        Learner(replace(warm, seed=5), some_pairs(warm))


ASKED = ["runtime.engine=hf", "runtime.backend=local", "runtime.graders=1", "runtime.learner_threads=1"]


def run_with(place: Path, quarantine: float, *sets: str) -> RunDir:
    """A run directory with one checkpoint: the deployed block is untrained, the quarantine moved by `quarantine`."""
    config = load("tiny", arm="vanilla", seed=4, sets=["lora.rank=4", "rollout.max_new_tokens=40", *ASKED, *sets])
    fix_date(None)
    dataset = load_dataset(config)
    run, learner = RunDir.create(place, config, dataset_facts(config, dataset)), Learner(config, dataset.pairs)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in learner.lora.modules.values():
            moved = module.b_OS[:, learner.lora.rank :]
            moved += quarantine * torch.randn(moved.shape, generator=generator)
    run.checkpoint(0).mkdir(parents=True)
    for name, content in zip(("train", "optimizer"), learner.checkpoint(), strict=True):
        (run.checkpoint(0) / f"{name}.safetensors").write_bytes(content)
    return run


def test_a_sweep_of_several_runs_starts_engines_once_and_its_ends_are_what_an_evaluation_says(tmp_path, monkeypatch):
    first, second = run_with(tmp_path / "a", 3.0), run_with(tmp_path / "b", 0.0)
    exam = Exam("test", ids=tuple(load_dataset(first.config()).test_ids[:8]))
    start, started = quarantine_sweep.start_workers, []
    monkeypatch.setattr(quarantine_sweep, "start_workers", lambda *a, **kw: started.append(1) or start(*a, **kw))
    yielded = list(write_sweeps([first, second], (0.0, 1.0), exam))
    records = [read_json(run.path / FILE, "a sweep") for run in (first, second)]
    written, said = (to_json(found, sort_keys=True) for found in (records, yielded))
    assert len(started) == 1 and written == said

    (scored,) = evaluate(first, first.config(), [0], exam)
    moved, still = ([row["all"] for row in record["scales"]] for record in records)
    assert [row["scale"] for row in records[0]["scales"]] == [0.0, 1.0]
    assert (moved[0], moved[1]) == (scored["deploy"]["all"], scored["train"]["all"])
    assert moved[0]["solve"] > moved[1]["solve"] and moved[0]["n"] == 16  # a quarantine that is noise answers nothing
    assert still == [moved[0]] * 2  # one that was never trained changes nothing
    assert records[0]["questions"] == scored["questions"] and records[0]["update"] == 0


def test_a_run_without_a_quarantine_is_refused_before_any_run_is_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(quarantine_sweep, "start_workers", lambda *_, **__: pytest.fail("started"))
    runs = [run_with(tmp_path / "a", 0.0), run_with(tmp_path / "b", 0.0, "lora.deploy=both")]
    with pytest.raises(UserError, match="an arm that deletes its quarantine"):
        list(write_sweeps(runs))
    assert not any((run.path / FILE).exists() for run in runs)
