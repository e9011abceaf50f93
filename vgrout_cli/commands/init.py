"""`vgrout init MODEL TRAIN TEST`: write a preset for a model and problem files: the usual fields, their meanings and defaults.

Invariant: what is written loads as it stands; a field that is not given is a comment with its default.
"""

import argparse
import json
from pathlib import Path

from vgrout.config import load
from vgrout.config_reference import fields
from vgrout.errors import UserError
from vgrout.fields import expected
from vgrout.files import write_whole
from vgrout.presets import packaged

SECTIONS = ("model", "data", "lora", "objective", "optim", "rollout", "train", "eval", "runtime")
RUNTIME = ("mode", "max_staleness", "engine", "backend", "engines", "graders", "engine_gpus", "learner_gpus", "learner_threads")
HEAD = """\
# Made by `vgrout init`. A line that begins with `# ` and a name is a field at its default: take the `# ` away to change it.
# The gate comes from the arm (`vgrout arms`). `vgrout config FIELD` explains any field, also those that are not here.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("model", metavar="MODEL", help="the base: a folder, or a Hugging Face id")
    parser.add_argument("train", type=Path, metavar="TRAIN", help="training problems (`vgrout data convert` makes such a file)")
    parser.add_argument("test", type=Path, metavar="TEST", help="test problems")
    parser.add_argument("--pairs", type=Path, help="authored pairs (default: those of the LeetCode benchmark)")
    parser.add_argument("--out", type=Path, default=Path("vgrout.toml"), help="the preset to write (default: vgrout.toml)")


def run(args: argparse.Namespace) -> int:
    """Check the files, write the preset, and say what comes next. Raises UserError."""
    from sandbox.problems.load import check_splits
    from sandbox.problems.load import load as load_problems
    from vgrout import pairs as pair_file

    if args.out.exists():
        raise UserError(f"--out {args.out}", "an existing file", "a new one")
    pairs = args.pairs or packaged() / "pairs/leetcode.jsonl"
    check_splits(load_problems(args.train), load_problems(args.test))
    pair_file.load(pairs)
    model = str(Path(args.model).expanduser().resolve()) if Path(args.model).expanduser().is_dir() else args.model
    given = {"model.path": model} | {
        f"data.{name}": str(path.resolve()) for name, path in (("train", args.train), ("test", args.test), ("pairs", pairs))
    }
    write_whole(args.out, text(given))
    try:
        load(args.out.resolve())
    except UserError:
        args.out.unlink()
        raise
    print(f"wrote {args.out}. Next:")
    for words in (f"data check {args.train} {args.test} --config {args.out}", f"train {args.out} --dry-run", f"train {args.out}"):
        print(f"  vgrout {words}")
    return 0


def text(given: dict[str, str]) -> str:
    """The preset: `given` fields as they are, the others as comments."""
    lines = [HEAD]
    for section in SECTIONS:
        lines.append(f"[{section}]")
        for key, info in fields().items():
            top, _, name = key.partition(".")
            if top != section or (section == "runtime" and name not in RUNTIME):
                continue
            lines.append(f"# {info.description} ({expected(info)})")
            if key in given:
                lines.append(f"{name} = {json.dumps(given[key])}")
            else:
                lines.append(f"# {name} = {json.dumps(info.default)}")
        lines.append("")
    return "\n".join(lines)
