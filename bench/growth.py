"""How the cost of each part grows with its size: the exponent p of `seconds ~ size^p`, from a size and four times that size.

    python -m bench.growth --out out/bench [--rounds 5] [--short]

Tokens of a completion, rollouts of a group, groups of a batch, layers of the model and rank of the adapter: a routed update of
the learner on random tokens. Runs in a report: `vgrout report` over a suite of small made-up runs. Both sizes take turns. An
exponent under 1 says that a fixed cost is part of it; above 1, that something is quadratic.
"""

import dataclasses
import math
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from bench.measure import Series, alternate, run_part
from learner.learner import Learner
from vgrout import pairs
from vgrout.config import Config, load
from vgrout.records import Sample, Sampling

ROOT = Path(__file__).parents[1]
TIMES = 4


@dataclasses.dataclass(frozen=True)
class Size:
    """One update's size."""

    tokens: int = 32
    samples: int = 4
    groups: int = 4
    layers: int = 4
    rank: int = 32


def random_samples(size: Size, seed: int = 0) -> list[Sample]:
    """Groups of rollouts of random tokens, all of one length, with random rewards."""
    draw, samples = random.Random(seed), []

    def ids(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(1, 600) for _ in range(count))

    for group in range(size.groups):
        prompt = ids(48)
        for n in range(size.samples):
            logprobs, reward = (-6.0,) * size.tokens, draw.choice([0.0, 0.5, 3.5])
            samples.append(Sample(f"{group}-{n}", group, prompt, ids(size.tokens), logprobs, Sampling.TRAIN, 0, reward))
    return samples


def deeper(layers: int, folder: Path) -> Path:
    """A copy of the tiny model's folder with `layers` layers of random weights."""
    tiny = ROOT / "configs/tiny/model"
    shutil.copytree(tiny, folder)
    about = AutoConfig.from_pretrained(tiny)
    about.num_hidden_layers, about.layer_types = layers, [about.layer_types[0]] * layers
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(about).save_pretrained(folder)
    return folder


def updater(size: Size, scratch: Path, threads: int = 2) -> Callable[[], object]:
    """A routed update of this size, to be called again and again."""
    sets = [f"lora.rank={size.rank}", f"runtime.learner_threads={threads}"]
    config: Config = load(ROOT / "configs/tiny.toml", arm="routev", sets=sets)
    if size.layers != Size.layers:
        path = str(deeper(size.layers, scratch / f"layers{size.layers}"))
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, path=path))
    learner, samples = Learner(config, pairs.load(ROOT / "configs/tiny/pairs.jsonl")[:8]), random_samples(size)

    def update() -> None:
        # The policy that wrote them is the one that is trained: what a synchronous run has.
        learner.update([dataclasses.replace(sample, version=learner.version) for sample in samples])

    return update


def report_of(runs: int, scratch: Path) -> Callable[[], object]:
    """`vgrout report` over a suite of `runs` small made-up runs."""
    sys.path.insert(0, str(ROOT / "tests" / "vgrout_cli"))
    from synthetic import write_suite

    from vgrout_cli.report.build import build

    suite = write_suite(scratch / f"suite{runs}", "growth", ["routev", "vanilla"], list(range(runs // 2)))
    return lambda: build([suite], scratch / f"report{runs}")


def exponents(small: Callable[[], object], large: Callable[[], object], rounds: int) -> tuple[tuple[float, ...], float]:
    """(exponent of every round, median seconds of the small one)."""
    taken = alternate({"small": small, "large": large}, rounds)
    ratios = [math.log(b / a, TIMES) for a, b in zip(taken["small"], taken["large"], strict=True)]
    return tuple(ratios), sorted(taken["small"])[rounds // 2]


def measure(rounds: int, short: bool) -> list[Series]:
    """Exponents of all sizes."""
    small = Size(tokens=4, samples=2, groups=2, rank=8) if short else Size()
    series = []
    with tempfile.TemporaryDirectory(prefix="vgrout-growth-") as folder:
        scratch = Path(folder)
        for field in ("tokens", "layers") if short else ("tokens", "samples", "groups", "layers", "rank"):
            large = dataclasses.replace(small, **{field: TIMES * getattr(small, field)})
            threads = 1 if short else 2
            found, _ = exponents(updater(small, scratch, threads), updater(large, scratch, threads), rounds)
            name = {"samples": "rollouts of a group"}.get(field, field)
            what = f"update: {name}, {getattr(small, field)} to {getattr(large, field)}"
            series.append(Series("growth exponents", what, "", found))
        if not short:  # a report draws every figure, however few runs it has
            found, _ = exponents(report_of(6, scratch), report_of(TIMES * 6, scratch), min(rounds, 3))
            series.append(Series("growth exponents", f"report: runs, 6 to {TIMES * 6}", "", found))
    return series


if __name__ == "__main__":
    run_part("growth", measure, __doc__)
