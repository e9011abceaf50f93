"""`vgrout accept`: the acceptance run of a new machine or cluster: a page of checks (pass, FAIL, not here) with numbers.

Invariant: nothing is left behind but the page; the exit code is 1 where a line failed.
"""

import argparse
import contextlib
import io
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from actors.ray_cluster.environment import prepare
from vgrout.config import Config, load
from vgrout.errors import UserError


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--model", help="also make one update of the fast size with this model (folder or id)")
    parser.add_argument("--out", type=Path, help="also write the page into this file")


def run(args: argparse.Namespace) -> int:
    """Run every check, print the page."""
    if args.out and args.out.exists():
        raise UserError(f"--out {args.out}", "something that is there already", "a new file")
    small = tiny(cuda=False)
    prepare(replace(small, runtime=replace(small.runtime, backend="local")))  # before torch and vLLM come in
    import torch

    from learner.acceptance import CheckStatus, Line, judged, page

    cuda = torch.cuda.is_available()
    lines: list[Line] = []
    for name, part in parts(tiny(cuda), cuda, args.model):
        try:
            for line in part:
                print(f"  {line.name}: {line.outcome}", file=sys.stderr, flush=True)
                lines.append(line)
        except Exception as error:
            lines.append(judged(name, False, f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"))
            print(f"  {name}: broken off: {error}", file=sys.stderr, flush=True)
    text = page(lines)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")
    return 1 if any(line.outcome is CheckStatus.FAIL for line in lines) else 0


def tiny(cuda: bool) -> Config:
    """The tiny preset, cut to two small updates; on a GPU in bfloat16, learner and engine on one card."""
    from vgrout.presets import packaged

    sets = ["rollout.prompts=2", "rollout.samples=4", "train.updates=2", "train.checkpoint_every=1", "eval.samples=1",
            "runtime.graders=1", "optim.warmup=1"]  # fmt: skip
    if cuda:
        sets += ["model.dtype=bfloat16", "runtime.engine_gpus=0.5", "runtime.learner_gpus=0.5", "runtime.engine_memory=0.3"]
    return load(packaged() / "tiny.toml", arm="routev", seed=7, sets=sets)


def parts(config: Config, cuda: bool, model: str | None) -> Iterator[tuple[str, Iterator]]:
    """The checks, group by group: the machine, the learner, an engine, a run, a kill, a model."""
    from actors.acceptance import engine_lines, kill_lines, machine_lines
    from actors.planning.gpu_memory import learner_terms
    from actors.planning.model_shape import shape_of
    from learner.acceptance import learner_lines
    from vgrout import pairs

    authored = pairs.load(Path(config.data.pairs))[:4]
    plan = sum(term.bytes for term in learner_terms(config, shape_of(config.model.path)))
    yield "machine", machine_lines(cuda)
    yield "learner", learner_lines(config, authored, plan)
    yield "engine", engine_lines(config, authored, cuda)
    yield "tiny run", run_lines(config)
    yield "kill", kill_lines(config, authored, cuda)
    yield "model", model_lines(model, cuda)


def run_lines(config: Config) -> Iterator:
    """Two updates of the tiny preset under Ray, a resume, an evaluation, an export."""
    from actors.evaluation import Exam, evaluate
    from actors.training import export, train
    from learner.acceptance import judged
    from vgrout.files import file_sha256

    with tempfile.TemporaryDirectory(prefix="vgrout-accept-") as scratch, contextlib.redirect_stdout(io.StringIO()):
        run = train(config, Path(scratch) / "run")
        rows = run.read("metrics.jsonl")
        yield judged("tiny run, 2 updates", len(rows) == 2, f"largest mismatch {max(r['mismatch/max'] for r in rows):.1e} nats")
        last = run.checkpoint(2) / "train.safetensors"
        digest = file_sha256(last)
        for file in run.checkpoint(2).iterdir():
            file.unlink()
        run.checkpoint(2).rmdir()
        again = train(config, None, run.path)
        same = file_sha256(again.checkpoint(2) / "train.safetensors") == digest
        yield judged("resumed from update 1", len(again.read("metrics.jsonl")) == 2, f"same bytes as without: {same}")
        record = evaluate(again, config, [2], Exam("validation", "validation"))[0]
        cell = record["deploy"]["all"]
        yield judged(
            "evaluated", cell["n"] > 0, f"n {cell['n']}, deployed solve {cell['solve_rate']:.2f}, hack {cell['hack_rate']:.2f}"
        )
        folder = export(again, config, 2, "deploy", Path(scratch) / "export", "bf16")
        size = (folder / "adapter_model.safetensors").stat().st_size
        yield judged("exported", size > 0, f"PEFT folder, {size / 2**20:.1f} MiB")


def model_lines(model: str | None, cuda: bool) -> Iterator:
    """One update of the fast size with a model of the user's, learner only: random tokens of full length."""
    from learner.acceptance import batch_of, judged, not_here

    if model is None or not cuda:
        yield not_here("one update of your model", "no --model" if model is None else "no GPU")
        return
    import time

    from learner.learner import Learner
    from vgrout import pairs
    from vgrout.presets import packaged

    config = load(packaged() / "qwen3-4b-fast.toml", arm="routev", sets=[f"model.path={model}"])
    learner = Learner(config, pairs.load(Path(config.data.pairs)))
    started = time.monotonic()
    learner.update(batch_of(config, config.rollout.prompts, config.rollout.samples, 1))
    yield judged(
        "one update of your model", True, f"{time.monotonic() - started:.1f} s at the fast size, every length at its limit"
    )
