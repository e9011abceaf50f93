"""A small world on the disk for tests of bad input: problems, pairs, a model folder, a finished run; and commands run in process.

A command "starts" where it reaches the making of workers: everything before that is free of Ray, engines and learners.
"""

import contextlib
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import actors.evaluation
import actors.training
from vgrout_cli.main import main

TOLD = ("run directory /", "control token", "does not say what")  # of a message that is no refusal
TINY = Path(__file__).parents[2] / "configs/tiny"
TAKEN = {"train": slice(12), "test": slice(4), "pairs": slice(0, None, 5)}
SMALL = (
    "runtime.backend=local", "runtime.engine=hf", "train.updates=2", "train.checkpoint_every=1", "rollout.prompts=2",
    "rollout.samples=2", "rollout.max_new_tokens=16", "lora.rank=4", "runtime.graders=1", "runtime.learner_threads=1",
    "eval.samples=1",
)  # fmt: skip


def rows(name: str) -> list[dict]:
    """Some rows of a file of the tiny world."""
    return [json.loads(line) for line in (TINY / f"{name}.jsonl").read_text().splitlines()][TAKEN[name]]


def lines(made: list[dict]) -> bytes:
    """JSON Lines."""
    return "".join(json.dumps(row) + "\n" for row in made).encode()


@dataclass
class World:
    """A folder with train.jsonl, test.jsonl, pairs.jsonl and model/, and the `--set`s that use them."""

    folder: Path
    sets: list[str] = field(default_factory=list)

    @classmethod
    def make(cls, folder: Path) -> "World":
        """A new one."""
        shutil.copytree(TINY / "model", folder / "model")
        for name in TAKEN:
            (folder / f"{name}.jsonl").write_bytes(lines(rows(name)))
        sets = [f"model.path={folder}/model", *(f"data.{name}={folder}/{name}.jsonl" for name in TAKEN), "data.validation=2"]
        return cls(folder, sets)

    @property
    def model(self) -> Path:
        """The base model's folder."""
        return self.folder / "model"

    def train(self, *sets: str, words: tuple[str, ...] = ()) -> list[str]:
        """`vgrout train` in this world."""
        return ["train", "tiny", *(f"--set={text}" for text in (*self.sets, *sets)), "--out", str(self.folder / "run"), *words]


class Started(BaseException):
    """The workers were about to be made."""


@dataclass(frozen=True)
class Answer:
    """How a command ended: its exit code, or None where it started; the messages of vgrout; its standard output."""

    code: int | None
    messages: list[str]
    out: str


def call(words: list[str], stop: bool = True) -> Answer:
    """Run `vgrout WORDS` in this process; with `stop`, only until workers would be made."""
    out, err = io.StringIO(), io.StringIO()

    def started(*_args: object, **_named: object) -> None:
        raise Started

    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        if stop:
            patch.setattr(actors.training, "start_workers", started)
            patch.setattr(actors.evaluation, "start_workers", started)
        try:
            code: int | None = main(words)
        except Started:
            code = None
        except SystemExit as end:  # argparse
            code = end.code if isinstance(end.code, int) else 1
    said = [line for line in err.getvalue().splitlines() if line.startswith("vgrout") and ": " in line]
    return Answer(code, [line for line in said if not any(words in line for words in TOLD)], out.getvalue())


def refused(answer: Answer, says: str) -> None:
    """Check that a command ended in exit code 2 and one message: where, found, expected."""
    assert answer.code == 2, answer
    assert len(answer.messages) == 1, answer
    (message,) = answer.messages
    assert "internal error" not in message and ": found " in message and "; expected " in message
    assert says in message


STARTS, DONE = "starts", "done"


def check(answer: Answer, outcome: str) -> None:
    """Check that a command started, was done, or was refused with a message that says `outcome`."""
    if outcome == STARTS:
        assert answer.code is None, answer
    elif outcome == DONE:
        assert answer.code == 0, answer
    else:
        refused(answer, outcome)


Change = Callable[[Path], object]


def put(data: bytes) -> Change:
    """Write a file anew."""
    return lambda path: path.write_bytes(data)


def edit(change: Callable[[bytes], bytes]) -> Change:
    """Change a file's bytes."""
    return lambda path: path.write_bytes(change(path.read_bytes()))


def fields(**new: object) -> Change:
    """Set fields of a JSON object; None removes one."""

    def change(path: Path) -> None:
        table = json.loads(path.read_text()) | new
        path.write_text(json.dumps({name: value for name, value in table.items() if value is not None}))

    return change


def gone(path: Path) -> None:
    """Remove a file or a folder."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def a_folder(path: Path) -> None:
    """A folder in place of a file."""
    gone(path)
    path.mkdir()


def a_file(path: Path) -> None:
    """A file in place of a folder."""
    gone(path)
    path.write_text("x")
