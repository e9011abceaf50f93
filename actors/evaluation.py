"""`vgrout eval`: score checkpoints on a split with the quarantine on (as trained) and off (deploy), from fixed seeds.

Invariant: prompts, generation seeds and their order depend on the problem ids and `eval.seed` alone, so every run of a
data set is asked exactly the same questions.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from actors.driver import Batch, generate, grade
from actors.parts import Parts, finish, spawn
from actors.world import World, load_world
from learner.checkpoint import read_adapter
from learner.export import peft_bytes
from learner.vgrad import tokenize_pairs
from vgrout.config import Config
from vgrout.errors import UserError
from vgrout.files import write_json, write_whole
from vgrout.progress import Progress
from vgrout.rates import by_mode, to_json
from vgrout.records import AdapterVersion, SampleRequest, Sampling
from vgrout.rundir import RunDir
from vgrout.seeds import stream

SCHEMA = 1


def published(path: Path, config: Config) -> AdapterVersion:
    """The AdapterVersion that the learner published when it wrote this `train.safetensors`."""
    factors, about = read_adapter(path)
    train = peft_bytes(factors, about["rank"], blocks=2)
    both = config.lora.deploy == "both"
    return AdapterVersion(
        version=about["version"],
        train=train,
        deploy=train if both else peft_bytes(factors, about["rank"], blocks=1),
        deploy_blocks=2 if both else 1,
        digest=about["digest"],
        canary_train=tuple(about["canary_train"]),
        canary_deploy=tuple(about["canary_deploy"]),
    )


def questions(config: Config, world: World, ids: list[int], sampling: Sampling) -> list[SampleRequest]:
    """One request per problem, from the evaluation's own seeds (the same for every policy and run)."""
    return [
        SampleRequest(
            group=i,
            first=0,
            problem_id=i,
            mode=world.modes[i],
            prompt_ids=world.prompt(i),
            sampling=sampling,
            seeds=tuple(stream(config.eval.seed, "eval", i, k) for k in range(config.eval.samples)),
            temperature=config.eval.temperature,
            max_new_tokens=config.rollout.max_new_tokens,
        )
        for i in ids
    ]


def ask(parts: Parts, world: World, config: Config, ids: list[int], sampling: Sampling) -> Batch:
    """Sample and grade one policy on the problems `ids`."""
    return grade(parts, world, generate(parts, questions(config, world, ids, sampling)))


def split_ids(world: World, split: str) -> list[int]:
    """Problem ids of `test`, `validation` or `train`. Raises UserError where the split is empty."""
    ids = {"test": world.test_ids, "validation": world.validation_ids, "train": world.train_ids}[split]
    if not ids:
        raise UserError("--split", f"{split} (0 problems)", "a split with problems (data.validation sets the slice)")
    return ids


def scheduled(run: RunDir, config: Config) -> list[int]:
    """The whole checkpoints that an uninterrupted run would have: multiples of the interval and the last."""
    every, last = config.train.checkpoint_every, config.train.updates
    return [v for v in run.checkpoints() if v % every == 0 or v == last]


def evaluate(run: RunDir, config: Config, versions: list[int], split: str) -> list[dict[str, Any]]:
    """Score checkpoints on parts of their own: one record per version, see `score`."""
    world = load_world(config)
    side = tokenize_pairs(world.tokenizer, world.pairs[:1]).clean[0]
    parts = spawn(config, canary=(side.prompt_ids, side.completion_ids))
    try:
        return score(run, config, world, parts, versions, split)
    finally:
        parts.close()


def score(run: RunDir, config: Config, world: World, parts: Parts, versions: list[int], split: str) -> list[dict[str, Any]]:
    """Score checkpoints on live parts: {"update", "digest", "split", "train": counts per mode, "deploy": counts per mode, ...}.

    Writes every record as it is made (`eval/<split>_<update>.json`, and the audits of each policy beside it), and takes a
    record that is already there for the same adapter and number of samples as it is.
    """
    ids = split_ids(world, split)
    progress, records = Progress(f"{config.arm} seed {config.seed}: evaluate", len(versions)), []
    for version in versions:
        adapter = published(run.checkpoint(version) / "train.safetensors", config)
        place = run.path / f"eval/{split}_{version:05d}.json"
        record = _existing(place, adapter, config)
        if record is None:
            finish([engine.start("load", adapter) for engine in parts.engines])
            record = {
                "schema": SCHEMA,
                "update": version,
                "digest": adapter.digest,
                "split": split,
                "samples": config.eval.samples,
            }
            for sampling in (Sampling.TRAIN, Sampling.DEPLOY):
                batch = ask(parts, world, config, ids, sampling)
                record[sampling] = to_json(by_mode(batch.audits))
                record[f"{sampling}_truncated"] = sum(r.finish == "length" for r in batch.rollouts)
                answers = zip(batch.rollouts, batch.audits, strict=True)
                name = f"{split}_{version:05d}_{sampling}.json"
                write_json(place.parent / name, [{**dataclasses.asdict(a), "completion": r.text} for r, a in answers])
            write_json(place, record)
        rates = record["deploy"]["all"]
        progress.step(f"update {version} deployed: hack {rates['hack_rate']:.3f}  solve {rates['solve_rate']:.3f}")
        records.append(record)
    return records


def _existing(place: Path, adapter: AdapterVersion, config: Config) -> dict[str, Any] | None:
    if not place.is_file():
        return None
    record = json.loads(place.read_text())
    same = record["schema"] == SCHEMA and record.get("digest") == adapter.digest and record["samples"] == config.eval.samples
    return record if same else None


def write_curve(run: RunDir, records: list[dict[str, Any]]) -> None:
    """The last record as `per_mode_deploy.json`, all of them as `eval_curve.jsonl`; the curve comes last and marks the end."""
    write_json(run.path / "per_mode_deploy.json", records[-1])
    write_whole(run.path / "eval_curve.jsonl", "".join(json.dumps(r, sort_keys=True) + "\n" for r in records))


def evaluate_all(run: RunDir, config: Config) -> None:
    """Evaluate every scheduled checkpoint on the test split, on parts of its own."""
    write_curve(run, evaluate(run, config, scheduled(run, config), "test"))
