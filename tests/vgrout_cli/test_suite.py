"""Suites: jobs from a file, what makes two runs comparable, and the order in which they run."""

import dataclasses
import json
from itertools import combinations
from pathlib import Path

import pytest
from synthetic import write_run

from vgrout.errors import UserError
from vgrout.pairs import load as load_pairs
from vgrout.records import LOOPHOLES
from vgrout.run_directory import RunDir
from vgrout_cli.main import main
from vgrout_cli.suite.comparable import check_own, check_seed
from vgrout_cli.suite.plan import jobs, load
from vgrout_cli.suite.state import RunStatus, SuiteState

TINY = Path("configs/suite/tiny.toml")


def write(path: Path, **fields: object) -> Path:
    base = {"config": str(Path("configs/tiny.toml").resolve()), "seeds": [1], "arms": ["vanilla"]}
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in (base | fields).items()))
    return path


def facts(**changes: object) -> dict[str, object]:
    partition = {"1": "sentinel", "2": "run_tests"}
    same: dict[str, object] = {
        "digests": {"train": "t"},
        "initial_adapter_digest": "i",
        "validation_ids": [],
        "order_digest": "o",
    }
    return same | {"partition": partition} | changes


def test_the_paper_suite_has_every_arm_and_every_choice_of_two_modes():
    arms = load(Path("configs/suite/qwen3-4b.toml")).arms
    tiny, held = load(TINY), load(Path("configs/suite/tiny-heldout.toml"))
    assert set(arms) == {*tiny.arms, *held.arms}
    assert len(tiny.seeds) == 5
    assert len(held.seeds) == 5
    choices = {f"routev_heldout_{a}_{b}" for a, b in combinations(LOOPHOLES, 2)}
    assert set(held.arms) == choices


def test_a_held_out_arm_uses_the_pairs_of_its_two_modes_and_refuses_any_other(tmp_path):
    for job in jobs(load(Path("configs/suite/tiny-heldout.toml")), tmp_path):
        data = job.config.data
        kept = load_pairs(Path(data.pairs), data.held_out, data.pair_tags)
        assert {p.tag for p in kept} == set(LOOPHOLES) - set(data.held_out) and len(data.held_out) == 2
        assert job.config.arm == "routev_heldout_" + "_".join(data.pair_tags)
        with pytest.raises(UserError, match="a held-out mode"):
            load_pairs(Path(data.pairs), data.held_out)


def test_every_placebo_comes_after_the_run_that_it_is_matched_to_and_names_it(tmp_path):
    todo = jobs(load(TINY), tmp_path)
    names = [job.name for job in todo]
    assert len(set(names)) == len(names) == 45
    for job in todo:
        needed = {"placebo": "routev", "placebo_ub": "routev_ub"}.get(job.config.arm)
        assert job.needs == (f"{needed}/seed{job.config.seed}" if needed else None)
        if needed:
            assert names.index(f"{needed}/seed{job.config.seed}") < names.index(job.name)
            assert job.config.gate.reference_run == str(tmp_path / needed / f"seed{job.config.seed}")


def test_a_placebo_that_routes_by_another_rule_than_its_reference_is_refused_before_anything_starts(tmp_path, capsys):
    (tmp_path / "arms").mkdir()
    (tmp_path / "mine.toml").write_text('extends = "tiny"\n')
    (tmp_path / "arms/paid.toml").write_text('# m\n[gate]\nrule = "pairs"\nroute = "rewarded"\n')
    (tmp_path / "arms/other.toml").write_text('# m\n[gate]\nrule = "matched"\nreference_arm = "paid"\n')
    path = write(tmp_path / "s.toml", config=str(tmp_path / "mine.toml"), arms=["paid", "other"])
    assert main(["suite", str(path), "--out", str(tmp_path / "out"), "--dry-run"]) == 2
    assert "gate.route: found 'all'; expected 'rewarded', as in the run" in capsys.readouterr().err
    whole = write(tmp_path / "s.toml", config=str(tmp_path / "mine.toml"), arms=["paid", "other"], set=["gate.route='rewarded'"])
    assert [job.config.gate.route for job in jobs(load(whole), tmp_path)] == ["rewarded"] * 2

    reference = write_run(tmp_path / "routev", "routev", 1)
    sets = [f"gate.reference_run={reference}", "gate.route=rewarded", "train.updates=4"]
    flags = [word for text in sets for word in ("--set", text)]
    assert main(["train", "tiny", "--arm", "placebo", "--seed", "1", "--out", str(tmp_path / "run"), *flags]) == 2
    assert "gate.route: found 'rewarded'; expected 'all', as in the run" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_what_an_arm_is_wins_over_the_suites_set_and_the_rest_follows_it(tmp_path):
    path = write(tmp_path / "s.toml", arms=["base", "vanilla"], set=["train.updates=3", "optim.lr=0.5"])
    base, vanilla = jobs(load(path), tmp_path)
    assert (base.config.train.updates, vanilla.config.train.updates) == (0, 3)
    assert base.config.optim.lr == vanilla.config.optim.lr == 0.5


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"armz": 1}, "armz"),
        ({"arms": []}, "arms"),
        ({"seeds": [1, 1]}, "seeds"),
        ({"seeds": ["1"]}, "seeds"),
        ({"parallel": -1}, "parallel"),
        ({"arms": ["placebo"]}, "placebo without routev"),
        ({"arms": ["nothing"]}, "nothing"),
        ({"config": "nowhere.toml"}, "nowhere.toml"),
        ({"set": ["optim.learning=1"]}, "optim.learning"),
    ],
)
def test_a_bad_suite_file_is_one_message(fields, named, tmp_path, capsys):
    path = write(tmp_path / "s.toml", **fields)
    assert main(["suite", str(path), "--out", str(tmp_path / "out"), "--dry-run"]) == 2
    said = capsys.readouterr().err
    assert named in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_dry_run_says_what_is_left_and_starts_nothing(tmp_path, capsys):
    path = write(tmp_path / "s.toml", arms=["base", "routev", "placebo"])
    (tmp_path / "out/base/seed1").mkdir(parents=True)
    (done,) = (job for job in jobs(load(path), tmp_path / "out") if job.config.arm == "base")
    RunDir.create(done.path, done.config, facts())
    (done.path / "eval_curve.jsonl").write_text("")
    assert main(["suite", str(path), "--out", str(tmp_path / "out"), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "base/seed1" in said
    assert "done" in said
    assert "2 of 3 runs left" in said
    assert not (tmp_path / "out/suite.json").exists()


@pytest.fixture
def pair_of_runs(tmp_path):
    """Run directories of two arms of one seed, as a suite would make them."""
    return jobs(load(write(tmp_path / "s.toml", arms=["vanilla", "ceiling"])), tmp_path / "out")


def test_arms_that_differ_only_as_arms_do_are_comparable(pair_of_runs):
    vanilla, ceiling = pair_of_runs
    RunDir.create(vanilla.path, vanilla.config, facts())
    RunDir.create(ceiling.path, ceiling.config, facts(partition={"1": "gt_only", "2": "gt_only"}))
    check_seed(pair_of_runs)
    for job in pair_of_runs:
        check_own(job)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"digests": {"train": "other"}}, "digests"),
        ({"initial_adapter_digest": "other"}, "initial_adapter_digest"),
        ({"order_digest": "other"}, "order_digest"),
        ({"validation_ids": [7]}, "validation_ids"),
        ({"partition": {"1": "gt_only", "3": "gt_only"}}, "problem ids"),
        ({"partition": {"1": "run_tests", "2": "sentinel"}}, "partition"),
    ],
)
def test_other_data_or_adapter_or_order_is_refused_by_name(pair_of_runs, changed, field):
    vanilla, ceiling = pair_of_runs
    RunDir.create(vanilla.path, vanilla.config, facts())
    RunDir.create(ceiling.path, ceiling.config, facts(**({"partition": {"1": "gt_only", "2": "gt_only"}} | changed)))
    with pytest.raises(UserError) as refused:
        check_seed(pair_of_runs)
    assert refused.value.where == f"{ceiling.path / 'run.json'}: {field}"


@pytest.mark.parametrize(
    ("section", "name", "value"), [("rollout", "temperature", 0.5), ("optim", "lr", 1.0), ("eval", "seed", 3)]
)
def test_another_setting_is_refused_by_name(pair_of_runs, section, name, value):
    vanilla, ceiling = pair_of_runs
    RunDir.create(vanilla.path, vanilla.config, facts())
    other = dataclasses.replace(
        ceiling.config, **{section: dataclasses.replace(getattr(ceiling.config, section), **{name: value})}
    )
    RunDir.create(ceiling.path, other, facts(partition={"1": "gt_only", "2": "gt_only"}))
    for check in (lambda: check_seed(pair_of_runs), lambda: check_own(ceiling)):
        with pytest.raises(UserError, match=rf"ceiling/seed1/run.json: {section}.{name}: found"):
            check()


def test_the_state_comes_from_the_run_directories_and_seconds_add_up(tmp_path, pair_of_runs):
    suite = load(tmp_path / "s.toml")
    state = SuiteState(suite, pair_of_runs, tmp_path)
    state.change("vanilla/seed1", RunStatus.RUNNING)
    state.change("vanilla/seed1", RunStatus.MISSING, 2.0, "interrupted")
    pair_of_runs[1].path.mkdir(parents=True)
    (pair_of_runs[1].path / "eval_curve.jsonl").write_text("")
    again = SuiteState(suite, pair_of_runs, tmp_path)
    again.change("vanilla/seed1", RunStatus.DONE, 3.0)
    written = json.loads((tmp_path / "suite.json").read_text())
    assert written["runs"]["vanilla/seed1"] == {"status": "done", "seconds": 5.0, "error": ""}
    assert written["runs"]["ceiling/seed1"]["status"] == "done" and again.left() == 0
    assert len((tmp_path / "progress.jsonl").read_text().splitlines()) == 3
