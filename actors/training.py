"""`vgrout train`: make or resume a run directory, start the workers, drive the run, export what is deployed.

Invariant: everything that can be wrong with the input is checked before the run directory exists.
"""

import errno
import json
import os
import shlex
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from actors.evaluation import Exam, Form, scheduled, score, write_curve
from actors.journal.journal import Past, read
from actors.made_of import canary_for, fix_date, places
from actors.model_card import hub_id, write_card
from actors.ray_cluster.calls import WorkerDied, finish
from actors.ray_cluster.workers import Workers, start_workers
from actors.rollouts.dataset import Dataset, canary_of, data_digests, load_dataset
from actors.rollouts.recorder import Recorder
from actors.sinks import trackers
from actors.sync_driver import Driver, restore
from learner.base_files import base_digests
from learner.peft_folder import adapter_config, write_peft
from learner.tokenizer import check_model_path
from vgrout import ingredients, resumed_config, template_date
from vgrout.config import Config, MatchedGate
from vgrout.errors import UserError
from vgrout.files import sha256, to_json, write_whole
from vgrout.lora_ranks import BLOCKS, export_rank
from vgrout.problem_order import problem_at
from vgrout.progress import at, say
from vgrout.records import AdapterVersion
from vgrout.run_directory import RunDir
from vgrout.seeds import stream
from vgrout.signals import AtOnce, Interrupted, RunStopped

ORDER_GROUPS = 256  # groups whose problem and seeds are part of run.json's order digest


def train(
    config: Config,
    out: Path | None,
    resume: Path | None = None,
    *,
    curve: bool = False,
    accept_changes: bool = False,
    log: Sequence[str] = (),
) -> RunDir:
    """Train `config` into a new run directory, or go on with `resume` from its last whole checkpoint.

    With `curve`, the same engines then score its checkpoints on the test split (eval_curve.jsonl). A resumed run must be made
    of what it was begun with (vgrout/ingredients.py); `accept_changes` goes on with what is here, and leaves a trace.
    `log`: trackers beside metrics.jsonl (actors/sinks.py).

    Raises UserError for bad input or a full disk, Interrupted after a clean stop, RunStopped where too many workers died.
    """
    if resume is not None and RunDir.open(resume).is_finished(config.train.updates, curve):
        return RunDir(resume)
    if "prometheus" in log and config.runtime.backend != "ray":
        raise UserError("--log prometheus", f"runtime.backend = {config.runtime.backend}", "ray, whose metrics endpoints it uses")
    check_model_path(config.model.path)
    if config.train.warm_start and not Path(config.train.warm_start).is_file():
        raise UserError("train.warm_start", f"no file {config.train.warm_start}", "a train.safetensors of another run")
    fix_date(None if resume is None else RunDir.open(resume))
    dataset = load_dataset(config)
    fractions = reference_fractions(config)
    run = _own(config, out, resume)
    try:
        if resume is not None:
            run.check_resumable()
            check_made_of(run, config, dataset, accept_changes)
            resumed_config.record(run, config)
        with _stops_name(run, curve), trackers(run, log):
            _train(config, dataset, fractions, run, resume is not None, curve)
    finally:
        run.release()
    return run


def _own(config: Config, out: Path | None, resume: Path | None) -> RunDir:
    """The run directory, owned by this process: a new one, or the one to go on with."""
    if resume is None:
        return RunDir.claim(out, config)
    run = RunDir.open(resume)
    run.own()
    return run


@contextmanager
def _stops_name(run: RunDir, curve: bool) -> Iterator[None]:
    """Add the command that goes on with the run to every message that it stopped."""
    words = ["vgrout", "train", "--resume", str(run.path), *(["--eval-curve"] if curve else [])]
    try:
        yield
    except (Interrupted, RunStopped, AtOnce) as stop:
        stop.resume_command = shlex.join(words)
        raise
    except KeyboardInterrupt:  # outside the updates: while parts start or end, or in the evaluation
        if not run.checkpoints():
            raise
        stop = AtOnce(signal.SIGINT, "SIGINT")
        stop.resume_command = shlex.join(words)
        raise stop from None


def _train(config: Config, dataset: Dataset, fractions: list[Any], run: RunDir, resumed: bool, curve: bool) -> None:
    canary = canary_for(run, dataset)
    workers = start_workers(config, canary, pairs=dataset.pairs, fractions=fractions, plug_ins=dataset.plug_ins)
    try:
        first, past = _begin(config, run, resumed, workers, dataset_facts(config, dataset))
        say(f"vgrout: run directory {run.path}")
        _drive(config, dataset, workers, run, first, past)
        at("writing the export")
        finalize(run, config, _last_version(workers))
        if curve:
            for form in map(Form, config.eval.forms):
                exam = Exam(f"test_{form}", form=form)
                write_curve(run, score(run, config, dataset, workers, scheduled(run, config)[-1:], exam), f"_{exam.name}")
            _compare_with_random(run, config)
            # Last, because it marks the run as done.
            write_curve(run, score(run, config, dataset, workers, scheduled(run, config), Exam()))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(str(error.filename or run.path), "a full disk", "room; then go on with --resume") from None
    except KeyboardInterrupt:
        workers.abandon()  # the second signal: end all actors at once
        raise
    finally:
        at("ending learner, engines and graders")
        workers.close()
        at("")


def _compare_with_random(run: RunDir, config: Config) -> None:
    """Write gate_null.json where it was asked for and the gate has directions; say so where there is nothing to tell apart."""
    if not config.eval.null_draws or not config.has_gradient_directions:
        return
    from actors.haar_null import NothingToTellApart, write_null  # it imports torch

    at("comparing the gate with random directions")
    try:
        write_null(run, config.eval.null_draws)
    except NothingToTellApart as why:
        say(f"vgrout: the gate was not compared with random directions: {why}")


def _last_version(workers: Workers) -> AdapterVersion | None:
    """What the learner publishes at the end, or None where it has died since its last checkpoint."""
    try:
        return finish(workers.learner.publish())
    except WorkerDied:
        return None


def _drive(config: Config, dataset: Dataset, workers: Workers, run: RunDir, first: int, past: Past) -> None:
    if config.runtime.mode == "sync":
        return Driver(config, dataset, workers, run, past).run(first)
    from actors.async_run.ray_executor import train_async

    if first == 0 and not run.checkpoints():
        Recorder(config, dataset, run).checkpoint(0, finish(workers.learner.checkpoint()), 0)
    return train_async(config, dataset, workers, run, past)


def dataset_facts(config: Config, dataset: Dataset) -> dict[str, object]:
    """What run.json says of the data: digests, splits and the partition."""
    return {
        "relaxed": config.is_relaxed,  # training reads audits: a comparator
        "digests": data_digests(config),
        "pairs": len(dataset.pairs),
        "partition": {str(i): str(mode) for i, mode in sorted(dataset.modes.items())},
        "validation_ids": dataset.validation_ids,
        "dropped": dataset.dropped,
        "order_digest": order_digest(config, dataset),
        "base": base_digests(config.model.path),
        "canary": canary_of(dataset),
        "template_date": os.environ[template_date.VARIABLE],
    }


def check_made_of(run: RunDir, config: Config, dataset: Dataset, accept: bool) -> None:
    """Raise UserError where a run that goes on would do so with other data, pairs or base than it was begun with."""
    here = ingredients.recorded(dataset_facts(config, dataset))
    ingredients.check(run, here, "train --resume", accept, places(config, here))


def order_digest(config: Config, dataset: Dataset) -> str:
    """SHA-256 over problem and sampling seeds of the first ORDER_GROUPS groups: equal for all arms of a seed."""
    seed, count = config.seed, config.rollout.samples
    groups = [
        [problem_at(dataset.train_ids, ordinal, seed), *(stream(seed, "sample", ordinal, i) for i in range(count))]
        for ordinal in range(ORDER_GROUPS)
    ]
    return sha256(json.dumps(groups).encode())


def _begin(config: Config, run: RunDir, resumed: bool, workers: Workers, facts: dict[str, object]) -> tuple[int, Past]:
    """(update to go on with, what the journal knows beyond the learner's checkpoint)."""
    if not resumed:
        facts["initial_adapter_digest"] = finish(workers.learner.initial_digest())
        run.begin(config, facts)
        return 0, Past({}, [], [], [])
    _, _, damaged = run.newest_whole()
    version = restore(run, workers)
    past = read(run.path / "journal.bin", version)
    for note in [*damaged, *past.notes]:
        say(f"vgrout: {note}")
    return version, past


def reference_fractions(config: Config) -> list[tuple[float, ...]]:
    """Label shares (clean, mid, hack) of the reference run, update by update; empty where no run is named.

    An update of it without a graded rollout counts as all clean.

    Raises UserError where the run has no shares, another seed or another `gate.route`.
    """
    gate = config.gate
    if not isinstance(gate, MatchedGate) or not gate.reference_run:
        return []
    run = RunDir.open(Path(gate.reference_run))
    other = run.config()
    if other.seed != config.seed:
        raise UserError("gate.reference_run", f"a run of seed {other.seed}", f"seed {config.seed}")
    if gate.reference_arm not in ("", other.arm):
        raise UserError("gate.reference_run", f"a run of {other.arm}", f"{gate.reference_arm} (gate.reference_arm)")
    gate.check_route(other.gate)
    rows = run.metrics()
    if len(rows) < config.train.updates:
        raise UserError("gate.reference_run", f"{len(rows)} updates in {run.path}", f"at least {config.train.updates}")
    absent = {"clean": 1.0, "mid": 0.0, "hack": 0.0}
    return [tuple(row.get(f"gate/share_{label}", share) for label, share in absent.items()) for row in rows]


def finalize(run: RunDir, config: Config, published: AdapterVersion | None = None) -> None:
    """Write `train.safetensors` and the deploy export of the last checkpoint into the run's root.

    `published`: that version as its learner has published it. Its file, in the base's precision, is the export; torch is then
    not needed.
    """
    folder = run.checkpoint(run.checkpoints()[-1])
    write_whole(run.path / "train.safetensors", (folder / "train.safetensors").read_bytes())
    shutil.rmtree(run.path / "deploy", ignore_errors=True)  # of this run's own earlier end, before it was resumed
    if published is None or published.version != run.checkpoints()[-1]:
        export(run, config, run.checkpoints()[-1], "deploy", run.path / "deploy", config.model.export_dtype)
    else:
        deploy, dtype, digest = published.deploy, published.dtype, published.digest
        _write_export(run, config, published.version, "deploy", run.path / "deploy", dtype, deploy, digest)


def export(run: RunDir, config: Config, version: int, block: str, out: Path, dtype: str = "fp32") -> Path:
    """Write a PEFT folder of a checkpoint: `block` is "deploy" or "train". Raises UserError for a missing checkpoint."""
    if version not in run.checkpoints():
        known = ", ".join(map(str, run.checkpoints())) or "none"
        raise UserError("--checkpoint", str(version), f"one of the run's checkpoints ({known})")
    from learner.checkpoint import parse_adapter
    from learner.export import peft_bytes

    factors, about = parse_adapter(run.adapter(version), str(run.checkpoint(version) / "train.safetensors"))
    tensors = peft_bytes(factors, about["rank"], _blocks(config, block), dtype)
    return _write_export(run, config, version, block, out, dtype, tensors, about["digest"])


def _blocks(config: Config, block: str) -> int:
    return BLOCKS if block == "train" else config.lora.deployed_blocks


def _write_export(
    run: RunDir, config: Config, version: int, block: str, out: Path, dtype: str, tensors: bytes, digest: str
) -> Path:
    rank = export_rank(config.lora.rank, _blocks(config, block))
    write_peft(out, tensors, adapter_config(hub_id(config.model.path) or config.model.path, rank, config.lora.targets))
    record = {
        "run": run.path.name,
        "arm": config.arm,
        "relaxed": config.is_relaxed,
        "seed": config.seed,
        "checkpoint": version,
        "block": block,
        "dtype": dtype,
        "base_model": hub_id(config.model.path) or config.model.path,
        "rank": rank,
        "digest": digest,
        "sha256": sha256(tensors),
        "commit": run.about().get("commit", "unknown"),
    }
    write_whole(out / "vgrout.json", to_json(record, indent=2) + "\n")
    write_card(run, out, record)
    return out
