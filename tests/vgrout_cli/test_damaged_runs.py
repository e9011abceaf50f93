"""Run directories with damaged, odd and missing files, and every command on them, a row a case.

Each row names its kind of issue 12.

    1 what a run is made of    2 who owns a run directory    3 checked before it costs    4 not finite, negative, empty
    5 one message              6 two engines, one meaning    7 small

A row says what the command answers: a text that its one message holds (exit code 2), or STARTS / DONE where the input is fine.
"""

import dataclasses
import shutil
from pathlib import Path

import pytest
from input_world import DONE, SMALL, STARTS, World, a_file, a_folder, call, check, edit, fields, gone, put
from synthetic import Size, write_evaluations, write_logs

from actors.made_of import fix_date
from actors.rollouts.dataset import load_dataset
from actors.training import dataset_facts, finalize
from learner.checkpoint import adapter_bytes, optimizer_bytes
from learner.learner import Learner
from vgrout.config import load
from vgrout.run_directory import RunDir


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished, evaluated run in a world of its own: its checkpoints are the untouched adapter's, its logs synthetic."""
    world, size = World.make(tmp_path_factory.mktemp("trained")), Size(updates=2, every=1)
    config = load("tiny", arm="routev", seed=41, sets=[*world.sets, *SMALL])
    fix_date(None)
    dataset = load_dataset(config)
    run = RunDir.create(world.folder / "run", config, dataset_facts(config, dataset))
    learner = Learner(load("tiny", arm="vanilla", seed=41, sets=[*world.sets, *SMALL]), dataset.pairs)
    for version in range(size.updates + 1):
        adapter = adapter_bytes(learner.lora, config.seed, dataclasses.replace(learner.publish(), version=version))
        run.write_checkpoint(version, adapter, optimizer_bytes(learner.lora, learner.optimizer, learner.router, version), {})
    write_logs(run, config.seed, size, config.arm)
    write_evaluations(run.path, config.arm, config.seed, size)
    finalize(run, config)
    return world


COMMANDS = {
    "resume": lambda w, run: ["train", "--resume", run],
    "again": lambda w, run: [*w.train(*SMALL)[:-1], run, "--resume-or-start"],
    "new": lambda w, run: [*w.train()[:-1], run],
    "placebo": lambda w, run: [*w.train(f"gate.reference_run={run}", *SMALL)[:-1], f"{run}/x", "--arm=placebo"],
    "eval": lambda w, run: ["eval", run],
    "eval-curve": lambda w, run: ["eval-curve", run],
    "export": lambda w, run: ["export", run, "--out", f"{run}/x"],
    "report": lambda w, run: ["report", run, "--out", f"{run}/x"],
    "monitor": lambda w, run: ["monitor", run, "--out", f"{run}/x"],
    "fetch": lambda w, run: ["fetch", run, f"{run}/x"],
    "list": lambda w, run: ["list", run],
    "compare": lambda w, run: ["compare", run, str(w.folder / "run")],
    "watch": lambda w, run: ["watch", run],
}
ALL = tuple(name for name in COMMANDS if name not in ("new", "placebo"))


def unfinished(run: Path) -> None:
    gone(run / "deploy/vgrout.json")


def then(change, *more):
    """Several changes, all of the run's folder."""
    return lambda run: [one(run) for one in (change, *more)]


def at(name: str, change):
    return lambda run: change(run / name)


def went_on(change):
    """A change of a run that was interrupted after its last checkpoint."""
    return then(unfinished, change)


def copied(name: str, to: str):
    return lambda run: shutil.copytree(run / name, run / to)


def each(commands: str, outcome: str) -> dict[str, str]:
    """The same answer of several commands."""
    return dict.fromkeys(commands.split(), outcome)


torn = edit(lambda b: b[: len(b) // 2])
ABOUT = "run.json: found invalid JSON"
DAMAGE = [
    (5, "run.json torn", at("run.json", torn), dict.fromkeys(set(ALL) - {"fetch"}, ABOUT) | {"fetch": "run.json"}),
    (4, "run.json empty", at("run.json", put(b"")), each("resume eval report list watch", ABOUT)),
    (5, "run.json of NULs", at("run.json", edit(lambda b: bytes(len(b)))), each("resume list export", ABOUT)),
    (5, "run.json a list", at("run.json", put(b"[]")), each("resume eval list watch compare", "config: found nothing")),
    (5, "run.json Latin-1", at("run.json", edit(lambda b: b.replace(b"routev", b"\xe9", 1))), each("resume list", ABOUT)),
    (5, "run.json without a configuration", at("run.json", fields(config=None)), dict.fromkeys(ALL[:6], "config: found nothing")),
    (5, "an empty configuration", at("run.json", fields(config={})), each("resume eval export list", "run.json")),
    (5, "another schema", at("run.json", fields(schema=9)), each("resume eval export report list watch", "schema")),
    (5, "run.json a folder", at("run.json", a_folder), each("resume eval export watch", "run.json")),
    *(
        (
            5,
            f"{name} of another kind",
            went_on(at("run.json", fields(**{name: 7}))),
            each("resume eval export report", f"run.json: {name}"),
        )
        for name in ("digests", "base", "partition", "canary", "versions", "accepted_changes", "commit", "order_digest")
    ),
    (
        1,
        "run.json of an older version",
        went_on(at("run.json", fields(digests=None, base=None, canary=None, order_digest=None, commit=None))),
        {"resume": STARTS, "eval": STARTS, "export": DONE, "monitor": "digests"},
    ),
    (
        2,
        "metrics twice",
        went_on(at("metrics.jsonl", edit(lambda b: b + b))),
        {"resume": "field update", "report": "field update", "compare": "field update", "placebo": "field update"},
    ),
    (
        2,
        "metrics out of order",
        went_on(at("metrics.jsonl", edit(lambda b: b"".join(reversed(b.splitlines(keepends=True)))))),
        {"resume": "field update", "report": "field update"},
    ),
    (
        5,
        "metrics torn by a crash",
        went_on(at("metrics.jsonl", edit(lambda b: b[:-10]))),
        {"resume": STARTS, "again": STARTS, "list": DONE, "watch": DONE, "report": "metrics.jsonl"},
    ),
    (
        5,
        "metrics damaged in the middle",
        went_on(at("metrics.jsonl", edit(lambda b: b"{x\n" + b))),
        {"resume": "metrics.jsonl:1", "list": DONE, "watch": DONE},
    ),
    (
        5,
        "metrics not UTF-8",
        went_on(at("metrics.jsonl", edit(lambda b: b'{"a": "\xe9"}\n' + b))),
        {"resume": "metrics.jsonl:1", "list": DONE},
    ),
    (4, "metrics of a finished run empty", at("metrics.jsonl", put(b"")), {"report": "found 0 updates", "resume": DONE}),
    (
        5,
        "metrics without an update",
        at("metrics.jsonl", edit(lambda b: b'{"a": 1}\n' + b)),
        {"compare": "field update", "report": "field update", "watch": DONE},
    ),
    (
        5,
        "metrics gone",
        went_on(at("metrics.jsonl", gone)),
        {"resume": "metrics.jsonl: found no such file", "compare": "metrics.jsonl", "eval": STARTS},
    ),
    (
        5,
        "rollouts torn by a crash",
        went_on(at("rollouts.jsonl", edit(lambda b: b[:-10]))),
        {"resume": STARTS, "eval": STARTS, "report": "rollouts.jsonl"},
    ),
    (5, "rollouts damaged", went_on(at("rollouts.jsonl", edit(lambda b: b"\xe9\n" + b))), {"resume": "rollouts.jsonl:1"}),
    (5, "rollouts of another kind", at("rollouts.jsonl", edit(lambda b: b"{}\n" + b)), {"report": "rollouts.jsonl:1, field"}),
    (5, "audits of another kind", at("audits.jsonl", edit(lambda b: b"{}\n" + b)), {"report": "audits.jsonl:1, field"}),
    (5, "audits gone", at("audits.jsonl", gone), {"resume": DONE, "list": DONE}),
    (5, "journal of noise", went_on(at("journal.bin", put(b"\xff" * 100))), {"resume": STARTS}),
    (5, "journal empty", went_on(at("journal.bin", put(b""))), {"resume": STARTS}),
    (
        5,
        "00006.bak among the checkpoints",
        went_on(copied("checkpoints/00002", "checkpoints/00006.bak")),
        {"resume": STARTS, "export": DONE, "eval": STARTS},
    ),
    (5, "a file among the checkpoints", went_on(at("checkpoints/junk", put(b"x"))), {"resume": STARTS, "export": DONE}),
    (
        5,
        "a checkpoint named in another script",
        went_on(copied("checkpoints/00002", "checkpoints/0000³")),
        {"resume": STARTS, "export": DONE},
    ),
    (
        1,
        "a checkpoint under another name",
        went_on(copied("checkpoints/00002", "checkpoints/00009")),
        {"resume": STARTS, "export": "found update 2", "eval": "found update 2"},
    ),
    (
        1,
        "a byte of a checkpoint's adapter",
        went_on(at("checkpoints/00002/train.safetensors", edit(lambda b: b[:-1] + bytes([b[-1] ^ 1])))),
        {
            "resume": STARTS,
            "export": "train.safetensors: found SHA-256",
            "eval": "train.safetensors: found SHA-256",
            "eval-curve": "train.safetensors",
        },
    ),
    (
        5,
        "a checkpoint's adapter torn",
        at("checkpoints/00002/train.safetensors", torn),
        {"export": "train.safetensors", "eval": "train.safetensors"},
    ),
    (
        5,
        "a checkpoint's adapter gone",
        at("checkpoints/00002/train.safetensors", gone),
        {"export": "train.safetensors", "eval": "train.safetensors"},
    ),
    (
        5,
        "every checkpoint torn",
        went_on(lambda run: [torn(p) for p in run.glob("checkpoints/*/optimizer.safetensors")]),
        {"resume": "damaged optimizer.safetensors"},
    ),
    (
        5,
        "a checkpoint's state torn",
        went_on(at("checkpoints/00002/state.json", torn)),
        {"resume": STARTS, "export": "state.json", "eval": "state.json"},
    ),
    (
        5,
        "a checkpoint's state a list",
        went_on(at("checkpoints/00002/state.json", put(b"[]"))),
        {"resume": STARTS, "export": "state.json"},
    ),
    (
        5,
        "no checkpoints",
        went_on(at("checkpoints", gone)),
        {"resume": "no whole checkpoint", "eval": "no whole checkpoint", "export": "--checkpoint", "new": "an existing run"},
    ),
    (
        7,
        "no checkpoint yet",
        then(unfinished, at("checkpoints", gone), at("train.safetensors", gone)),
        {"new": STARTS, "again": STARTS, "resume": "no whole checkpoint"},
    ),
    (
        5,
        "checkpoints a file",
        went_on(at("checkpoints", a_file)),
        {"resume": "no whole checkpoint", "eval": "no whole checkpoint"},
    ),
    (5, "deploy a file", then(unfinished, at("deploy", a_file)), {"resume": "deploy: found a file"}),
    (5, "eval a file", at("eval", a_file), {"eval": "eval"}),
    (
        5,
        "the evaluation torn",
        at("per_mode_deploy.json", torn),
        {"export": "per_mode_deploy.json", "report": "per_mode_deploy.json"},
    ),
    (
        5,
        "the evaluation a list",
        at("per_mode_deploy.json", put(b"[]")),
        {"export": "per_mode_deploy.json", "report": "per_mode_deploy.json"},
    ),
    (
        5,
        "half an evaluation",
        at("per_mode_deploy.json", fields(deploy=None)),
        {"export": "per_mode_deploy.json: deploy", "report": "per_mode_deploy.json: deploy"},
    ),
    (
        5,
        "an evaluation without counts",
        at("per_mode_deploy.json", fields(train={"all": {"n": 1}})),
        {"export": "train.all", "report": "train.all"},
    ),
    (5, "the curve torn", at("eval_curve.jsonl", edit(lambda b: b[:-50])), {"report": "eval_curve.jsonl"}),
    (5, "the curve of another kind", at("eval_curve.jsonl", put(b'{"schema": 1}\n')), {"report": "eval_curve.jsonl"}),
    (5, "answers torn", at("eval/test_00002_deploy.json", torn), {"report": "test_00002_deploy.json"}),
    (5, "answers of another kind", at("eval/test_00002_deploy.json", put(b"[1]")), {"report": "test_00002_deploy.json"}),
    (4, "no answers", at("eval/test_00002_deploy.json", put(b"[]")), {"report": "test_00002_deploy.json"}),
    (5, "the base's answers torn", at("eval/test_00000_deploy.json", torn), {"monitor": "test_00000_deploy.json"}),
    (4, "no answers of the base", at("eval/test_00000_deploy.json", put(b"[]")), {"monitor": "found no audit"}),
    (5, "a record of the export torn", at("deploy/vgrout.json", torn), {"fetch": "deploy/vgrout.json"}),
    (2, "an owner's file of noise", went_on(at(".owner-00007.json", put(b"{"))), {"resume": STARTS}),
    (2, "a file that looks like an owner's", went_on(at(".owner-abc.json", put(b"{}"))), {"resume": STARTS}),
    (
        7,
        "nothing",
        lambda run: None,
        {
            "resume": DONE,
            "again": DONE,
            "new": "an existing run",
            "eval": STARTS,
            "export": DONE,
            "report": DONE,
            "list": DONE,
            "compare": DONE,
            "watch": DONE,
            "fetch": DONE,
            "monitor": DONE,
            "placebo": STARTS,
        },
    ),
]


@pytest.mark.parametrize(
    ("kind", "what", "damage", "command", "outcome"),
    [
        pytest.param(kind, what, damage, command, outcome, id=f"{kind}-{what}-{command}")
        for kind, what, damage, answers in DAMAGE
        for command, outcome in sorted(answers.items())
    ],
)
def test_a_damaged_run_directory(trained, tmp_path, kind, what, damage, command, outcome):
    run = shutil.copytree(trained.folder / "run", tmp_path / "run")
    damage(run)
    check(call(COMMANDS[command](trained, str(run))), outcome)
