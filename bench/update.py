"""One update of the tiny preset's size: ours by arm and by share of hacks, the plain multi-pass one, PEFT by hand, and TRL.

    python -m bench.update --out out/bench [--rounds 5] [--short]

96 rollouts of random tokens in 12 groups, about 100 tokens each with their prompts. Labels are set by hand, so that a share is
exactly what the row says; scoring is still paid for. `prepared` leaves out what sync mode computes while engines still sample:
the row `ahead of a routed update`. The floor is the least that matrix products of one vanilla update cost (prompts once per
group; base and reference forward, gradients of activations and of the adapter), at the rate measured in the same rounds.
TRL's row is the part of its training step that is no generation and no reward, in a run of its own per round.
"""

import dataclasses
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from bench.measure import Series, run_part
from bench.multi_pass import MultiPass
from learner.learner import Learner
from learner.model import collate, load_model, logprobs_GT
from vgrout import pairs
from vgrout.config import Config, load
from vgrout.records import GateLabel, Sample, Sampling

ROOT = Path(__file__).parents[1]
PART = "update"
PROMPT, COMPLETION = 60, (16, 64)  # tokens
SHARES = (0, 25, 50, 100)  # percent of hacks
BARS = {"routev, 0% hack": 1.15, "routev, 50% hack": 1.5, "routev, 100% hack": 1.6}  # over vanilla
FLOOR_BAR = 2.5
AHEAD = "ahead of a routed update"
COMPLETIONS = ", probed at completions"


def rollouts(groups: int, count: int, seed: int = 0) -> list[Sample]:
    """Groups of random tokens, of lengths like the tiny world's, with rewards that vary."""
    draw, made = random.Random(seed), []

    def ids(length: int) -> tuple[int, ...]:
        return tuple(draw.randrange(3, 600) for _ in range(length))

    for group in range(groups):
        prompt = ids(PROMPT)
        for n in range(count):
            answer = ids(draw.randint(*COMPLETION))
            logprobs = (-6.0,) * len(answer)
            made.append(Sample(f"{group}-{n}", group, prompt, answer, logprobs, Sampling.TRAIN, 0, float(n % 2)))
    return made


def spread(percent: int, count: int) -> list[GateLabel]:
    """Labels with a share of hacks, spread evenly over the rollouts; the others are clean."""
    return [GateLabel.HACK if (i + 1) * percent // 100 > i * percent // 100 else GateLabel.CLEAN for i in range(count)]


class Labelled:
    """A learner whose gate scores as always and then gives the labels that it is told."""

    def __init__(self, config: Config, authored: list[Any], samples: list[Sample]) -> None:
        self.learner, self.samples, self.labels = Learner(config, authored), samples, [GateLabel.CLEAN] * len(samples)
        self.learner.router.label = lambda score_G, rewarded, update: self.labels

    def batch(self) -> list[Sample]:
        """The samples, as if written by the version that is trained: what a sync run has."""
        return [dataclasses.replace(sample, version=self.learner.version) for sample in self.samples]

    def update(self, labels: list[GateLabel]) -> None:
        """One update."""
        self.labels = labels
        self.learner.update(self.batch())


def by_hand(config: Config, samples: list[Sample]) -> Callable[[], object]:
    """What one writes with transformers and PEFT: padded rows, a reference pass without the adapter, a training pass, AdamW."""
    model: Any = get_peft_model(
        load_model(config.model, "cpu"),  # pyright: ignore[reportArgumentType]
        LoraConfig(r=config.lora.rank, lora_alpha=config.lora.rank, target_modules=list(config.lora.targets)),
    )
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=config.optim.lr)
    batch, base = collate(samples, "cpu"), model.get_base_model()
    gain_G = torch.tensor([s.reward - 0.5 for s in samples])

    def update() -> None:
        with torch.no_grad(), model.disable_adapter():
            reference_GT = logprobs_GT(base, batch)
        now_GT = logprobs_GT(base, batch)
        gap_GT = reference_GT - now_GT
        per_token_GT = config.objective.kl * (torch.exp(gap_GT) - gap_GT - 1)
        per_token_GT = per_token_GT - torch.exp(now_GT - now_GT.detach()) * gain_G[:, None]
        (per_token_GT * batch.completion_GT).sum().div(len(samples) * config.rollout.max_new_tokens).backward()
        optimizer.step()
        optimizer.zero_grad()

    return update


def multi_pass(learner: Learner, samples: list[Sample], labels: list[GateLabel], *, probed: bool) -> Callable[[], object]:
    """The plain update of bench/multi_pass.py without its optimizer step."""
    config = learner.config
    plain = MultiPass(load_model(config.model, "cpu"), learner.lora.factors(), config.lora.rank)
    advantage_G = torch.tensor([s.reward - 0.5 for s in samples])
    o, r = config.objective, config.rollout

    def update() -> None:
        if probed:
            plain.cprobe(samples, initial=True)
        plain.gradients(
            samples, labels, advantage_G, kl=o.kl, clip=o.clip, cap=o.importance_cap, temperature=r.temperature,
            denominator=len(samples) * r.max_new_tokens,
        )  # fmt: skip

    return update


def products(learner: Learner, samples: list[Sample]) -> float:
    """Floating point operations of the matrix products that a vanilla update cannot do without."""
    prompts = {s.group: len(s.prompt_ids) for s in samples}
    answers = sum(len(s.completion_ids) for s in samples)
    tokens, rank = sum(prompts.values()) + answers, learner.lora.rank
    shapes = [(m.base.in_features, m.base.out_features) for m in learner.lora.modules.values()]
    per_token = sum(3 * i * o + min(i * o, 2 * rank * (i + o)) for i, o in shapes)  # reference, forward, backward; adapter
    vocabulary, width = learner.model.get_input_embeddings().weight.shape
    return 2.0 * (tokens * per_token + 3 * answers * vocabulary * width)


def matmul_rate(size: int) -> Callable[[], float]:
    """Floating point operations per second of square products of this size, now."""
    a, b = torch.randn(size, size), torch.randn(size, size)

    def rate() -> float:
        began = time.perf_counter()
        for _ in range(4):
            torch.mm(a, b)
        return 4 * 2.0 * size**3 / (time.perf_counter() - began)

    return rate


def trl_update() -> float:
    """Seconds of TRL's own update: the median over a short run, its first update left out."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "lines.jsonl"
        subprocess.run([sys.executable, "-m", "bench.trl_run", str(file), "--updates", "4"], check=True, capture_output=True)
        return statistics.median(json.loads(line)["time/update"] for line in file.read_text().splitlines()[1:])


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(rounds: int, short: bool) -> list[Series]:
    """Seconds of every candidate, in turns."""
    threads = min(2, len(os.sched_getaffinity(0)))
    samples = rollouts(2, 2) if short else rollouts(12, 8)
    authored = pairs.load(ROOT / "configs/tiny/pairs.jsonl")[: 4 if short else None]
    chosen = {"vanilla": (), "routev": (), "absorb": (), "routev" + COMPLETIONS: ("gate.probe_positions=completion",)}
    config = {
        name: load(ROOT / "configs/tiny.toml", arm=name.split(",")[0], sets=[f"runtime.learner_threads={threads}", *sets])
        for name, sets in chosen.items()
    }
    ours = {name: Labelled(c, authored, samples) for name, c in config.items()}
    routed, cheaper = ours["routev"], ours["routev" + COMPLETIONS]
    for one in (routed, cheaper):
        one.update([GateLabel.HACK] * len(samples))  # so that the quarantine is no longer at its start

    def ahead(one: Labelled) -> None:
        one.learner.prepare(one.batch())

    clean, hacks = spread(0, len(samples)), {percent: spread(percent, len(samples)) for percent in SHARES}
    candidates: dict[str, tuple[Callable[[], object], ...]] = {"vanilla": (partial(ours["vanilla"].update, clean),)}
    for percent, labels in hacks.items():
        candidates[f"routev, {percent}% hack"] = (partial(routed.update, labels),)
        candidates[f"routev, {percent}% hack, prepared"] = (partial(ahead, routed), partial(routed.update, labels))
        candidates[f"routev, {percent}% hack{COMPLETIONS}"] = (partial(cheaper.update, labels),)
    candidates |= {
        AHEAD: (partial(ahead, routed),),
        AHEAD + COMPLETIONS: (partial(ahead, cheaper),),
        "mid": (partial(ours["absorb"].update, [GateLabel.MID] * len(samples)),),
        "multi-pass vanilla": (multi_pass(ours["vanilla"].learner, samples, clean, probed=False),),
        "multi-pass routev, 50% hack": (multi_pass(routed.learner, samples, hacks[50], probed=True),),
        "transformers and PEFT by hand": (by_hand(config["vanilla"], samples),),
    }
    taken: dict[str, list[float]] = defaultdict(list)
    rates: list[float] = []
    rate = matmul_rate(64 if short else 1024)
    trl = not short and find_spec("trl") is not None
    if not trl:
        print("TRL: not measured, " + ("--short" if short else "not installed"), file=sys.stderr)
    for turn in range(-1, rounds):  # the first round warms up
        for name, steps in candidates.items():
            for one in (routed, cheaper):
                one.learner.ahead.forget()
            found = [seconds(step) for step in steps]
            if turn >= 0:
                taken[name].append(found[-1])
        rates.append(rate())
        if trl and turn >= 0:
            taken["TRL"].append(trl_update())
    floor = products(ours["vanilla"].learner, samples) / statistics.median(rates)
    vanilla = statistics.median(taken["vanilla"])
    series = [Series(PART, name, "s", tuple(values)) for name, values in taken.items()]
    series += [Series(PART, "floor of vanilla", "s", (floor,)), Series(PART, "matmul rate", "flop/s", tuple(rates))]
    series.append(Series("update, ratios", f"vanilla / its floor (bar {FLOOR_BAR})", "x", (vanilla / floor,)))
    for name, values in taken.items():
        bar = f" (bar {BARS[name]})" if name in BARS else ""
        series.append(Series("update, ratios", f"{name} / vanilla{bar}", "x", (statistics.median(values) / vanilla,)))
    return series


if __name__ == "__main__":
    run_part(PART, measure, __doc__)
