"""vGROUT from Python, as the commands do it: `from vgrout_cli.api import load, train, evaluate, export`.

Invariant: each function does what the command of its name does and writes the same files; a `Run` only reads them. Bad input
raises `vgrout.errors.UserError` (where, found, expected). torch, Ray and vLLM are imported when a run begins.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from actors.ray_cluster.environment import prepare
from vgrout import config as configuration
from vgrout.config import Config, from_dict
from vgrout.errors import UserError
from vgrout.files import write_json
from vgrout.rows import Row
from vgrout.run_directory import RunDir


class Run:
    """A run directory, to be read."""

    def __init__(self, path: Path | str) -> None:
        """Raises UserError where `path` holds no run."""
        self.directory = RunDir.open(Path(path))

    @property
    def path(self) -> Path:
        """Its folder."""
        return self.directory.path

    @property
    def config(self) -> Config:
        """The resolved configuration."""
        return self.directory.config()

    def metrics(self) -> list[Row]:
        """A row per update (docs/reference/metrics.md)."""
        return self.directory.metrics()

    def rollouts(self) -> list[Row]:
        """A row per rollout: prompt, completion, reward, score, label (docs/reference/run-directory.md)."""
        return self.directory.read("rollouts.jsonl")

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"


def load(preset: Path | str, *, arm: str | None = None, seed: int | None = None,
         sets: Mapping[str, object] | None = None) -> Config:  # fmt: skip
    """A configuration: a preset by name or path, an arm laid over it, then single fields, e.g. {"train.updates": 2}."""
    changes = [f"{name}={_written(value)}" for name, value in (sets or {}).items()]
    return configuration.load(preset, arm=arm, seed=seed, sets=changes)


def _written(value: object) -> str:
    """As `--set` takes it."""
    if isinstance(value, list | tuple):
        return "[" + ", ".join(repr(str(v)) if isinstance(v, str | Path) else _written(v) for v in value) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def train(config: Config | None = None, out: Path | str | None = None, *, resume: Path | str | None = None,
          curve: bool = False, log: Sequence[str] = ()) -> Run:  # fmt: skip
    """Train `config` into a new run directory (`out`, or one below out/runs), or go on with `resume`.

    `curve`: then score the checkpoints. Raises as `actors.training.train` does.
    """
    if (config is None) == (resume is None):
        raise UserError("train", "neither or both of a configuration and resume", "one of them")
    config = Run(resume).config if resume is not None else config
    assert config is not None
    prepare(config)
    from actors import training

    where = None if resume is None else Path(resume)
    return Run(training.train(config, None if out is None else Path(out), where, curve=curve, log=log).path)


def evaluate(run: Run | Path | str, *, split: str = "test", checkpoint: int | None = None, samples: int | None = None,
             accept_changes: bool = False) -> Row:  # fmt: skip
    """Score a checkpoint (the last) on a split with the quarantine on and off; its record, with counts and rates per loophole.

    Writes eval/<split>_<update>.json, and for the last checkpoint on the test split per_mode_deploy.json.
    """
    directory = _directory(run)
    own = directory.config()
    config = with_samples(own, samples)
    prepare(config)
    from actors import evaluation

    version = _checkpoint(directory, checkpoint)
    exam = evaluation.Exam(split + samples_suffix(own, config), split)
    record = evaluation.evaluate(directory, config, [version], exam, accept_changes)[0]
    if version == directory.checkpoints()[-1] and exam.name == "test":
        write_json(directory.path / "per_mode_deploy.json", record)
    return record


def export(run: Run | Path | str, out: Path | str | None = None, *, checkpoint: int | None = None, block: str = "deploy",
           dtype: str = "fp32", accept_changes: bool = False) -> Path:  # fmt: skip
    """Write a checkpoint (the last) as a standard PEFT folder and return it; `block="train"` holds the quarantine as well."""
    directory = _directory(run)
    from actors.made_of import check_base
    from actors.training import export as write

    config = directory.config()
    check_base(directory, config, "export", accept_changes)
    version = checkpoint if checkpoint is not None else max(directory.checkpoints(), default=0)
    place = Path(out) if out is not None else directory.path / "exports" / f"{version:05d}_{block}_{dtype}"
    return write(directory, config, version, block, place, dtype)


def _directory(run: Run | Path | str) -> RunDir:
    return run.directory if isinstance(run, Run) else RunDir.open(Path(run))


def _checkpoint(directory: RunDir, asked: int | None) -> int:
    whole = directory.checkpoints()
    if not whole:
        raise UserError(str(directory.path / "checkpoints"), "no whole checkpoint", "at least one")
    return asked if asked is not None else whole[-1]


def with_samples(config: Config, samples: int | None) -> Config:
    """The configuration with another number of completions per problem, checked again."""
    if samples is None:
        return config
    table = config.to_dict()
    table["eval"]["samples"] = samples
    return from_dict(table, "--samples")


def samples_suffix(own: Config, config: Config) -> str:
    """What keeps the files of another number of completions apart from the run's own evaluation."""
    return "" if config.eval.samples == own.eval.samples else f"_s{config.eval.samples}"
