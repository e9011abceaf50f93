"""The learner's half of the acceptance run: properties that must hold on a new machine, each with its number.

Invariant: a check measures and judges; what this machine cannot show is NOT_HERE, never a pass. Needs torch, transformers, peft.
"""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch.profiler import ProfilerActivity, profile

from learner.checkpoint import adapter_bytes
from learner.cprobe import probe
from learner.learner import Learner
from learner.lora2r import ROUTED, Policy
from learner.model import collate, logprobs_GT
from vgrout.config import Config
from vgrout.files import sha256
from vgrout.records import GateLabel, Pair, Sample, Sampling

GROWTH = 0.01  # of the peak memory from the second update to the fourth


class CheckStatus(StrEnum):
    """What became of one check."""

    PASS = "pass"
    FAIL = "FAIL"
    NOT_HERE = "not here"


@dataclass(frozen=True)
class Line:
    """One line of the acceptance page: what was looked at, the outcome, and its number or reason."""

    name: str
    outcome: CheckStatus
    found: str


def judged(name: str, ok: bool, found: str) -> Line:
    """A line that passes or fails."""
    return Line(name, CheckStatus.PASS if ok else CheckStatus.FAIL, found)


def not_here(name: str, why: str) -> Line:
    """A line that this machine cannot show."""
    return Line(name, CheckStatus.NOT_HERE, why)


def page(lines: list[Line]) -> str:
    """The lines as a page, with a count at its end."""
    width = max(len(line.name) for line in lines)
    counts = ", ".join(f"{sum(line.outcome is o for line in lines)} {o}" for o in CheckStatus)
    return "\n".join([*(f"{line.name:<{width}}  {line.outcome:<8}  {line.found}" for line in lines), counts])


def batch_of(config: Config, groups: int, samples: int, seed: int) -> list[Sample]:
    """Full-length rollouts of random tokens with random rewards."""
    draw, r = random.Random(seed), config.rollout

    def ids(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(1, 600) for _ in range(count))

    return [
        Sample(
            f"{g}-{n}", g, prompt, ids(r.max_new_tokens), (-6.0,) * r.max_new_tokens, Sampling.TRAIN, 0, draw.choice([0.0, 3.5])
        )
        for g in range(groups)
        for prompt in [ids(r.prompt_limit)]
        for n in range(samples)
    ]


def learner_lines(config: Config, pairs: list[Pair], plan_bytes: int) -> Iterator[Line]:
    """All checks of one learner. `plan_bytes`: what `vgrout train --dry-run` says that it holds on a GPU."""
    learner = Learner(config, pairs)
    samples = batch_of(config, 2, 4, 1)
    yield _zero_at_start(learner, samples)
    yield from _cross_block(learner, samples)
    yield _probe(learner, samples)
    yield _attention(learner, samples)
    yield from _speed(learner, samples)
    yield from _memory(learner, samples, plan_bytes)
    del learner
    yield _same_bytes(config, pairs, samples)
    yield not_here("two-rank NCCL", "fewer than two GPUs") if torch.cuda.device_count() < 2 else _nccl()


def _zero_at_start(learner: Learner, samples: list[Sample]) -> Line:
    batch = collate(samples, learner.device)
    with torch.no_grad():
        values = []
        for policy in (Policy.BASE, Policy.TRAIN, Policy.DEPLOY):
            with learner.lora.policy(policy):
                values.append(logprobs_GT(learner.model, batch))
    gap = max((v - values[0]).abs().max().item() for v in values[1:])
    return judged("adapter exactly zero at the start", gap == 0, f"largest difference from the base {gap:g}")


def _cross_block(learner: Learner, samples: list[Sample]) -> Iterator[Line]:
    """A clean rollout must leave the quarantine's gradient at 0, a hack rollout the deployed block's: to the last bit."""
    r = learner.lora.rank
    for label in (GateLabel.CLEAN, GateLabel.HACK):
        with learner.lora.policy(ROUTED[label]):
            (-logprobs_GT(learner.model, collate(samples[:4], learner.device)).sum()).backward()
        leak = own = 0.0
        for module in learner.lora.modules.values():
            for grad, axis in ((module.a_SI.grad, 0), (module.b_OS.grad, 1)):
                if grad is None:
                    continue
                deployed, quarantine = grad.split(r, axis)
                wrong, right = (quarantine, deployed) if label is GateLabel.CLEAN else (deployed, quarantine)
                leak, own = max(leak, wrong.abs().max().item()), max(own, right.abs().max().item())
        for p in learner.lora.parameters():
            p.grad = None
        name = f"{label} rollouts: gradient of the other block"
        yield judged(name, leak == 0 and own > 0, f"largest {leak:g} (own block {own:.1e})")


def _probe(learner: Learner, samples: list[Sample]) -> Line:
    together = probe(learner.model, learner.lora, samples[:4], initial=True, budget=10**9)
    alone = torch.cat([probe(learner.model, learner.lora, [s], initial=True, budget=10**9) for s in samples[:4]])
    cosine = torch.nn.functional.cosine_similarity(together.flatten(1), alone.flatten(1)).min().item()
    bound = 0.9999 if learner.config.model.dtype == "float32" else 0.98
    return judged("c-probe in a batch and alone", cosine >= bound, f"smallest cosine {cosine:.6f} (at least {bound})")


def _attention(learner: Learner, samples: list[Sample]) -> Line:
    kinds = [ProfilerActivity.CUDA, ProfilerActivity.CPU] if learner.device == "cuda" else [ProfilerActivity.CPU]
    with profile(activities=kinds) as seen, torch.no_grad():
        logprobs_GT(learner.model, collate(samples[:1], learner.device))
    names = {event.key for event in seen.key_averages()}
    kernel = sorted(n for n in names if n.startswith(("aten::_scaled_dot_product", "aten::_flash_attention")))
    whole = [n for n in kernel if "math" in n] or ([] if kernel else ["none of torch's fused ones"])
    return judged("attention kernel", not whole, ", ".join(n.removeprefix("aten::_") for n in kernel) or whole[0])


def _speed(learner: Learner, samples: list[Sample]) -> Iterator[Line]:
    tokens = sum(len(s.prompt_ids) + len(s.completion_ids) for s in samples)

    def timed(work: Callable[[], object]) -> float:
        work()
        _wait(learner.device)
        started = time.monotonic()
        work()
        _wait(learner.device)
        return tokens / (time.monotonic() - started)

    def forward() -> None:
        with torch.no_grad(), learner.lora.policy(Policy.TRAIN):
            logprobs_GT(learner.model, collate(samples, learner.device))

    for name, work in (
        ("forward", forward),
        ("c-probe", lambda: probe(learner.model, learner.lora, samples, initial=True, budget=learner.config.train.micro_tokens)),
        ("whole update", lambda: learner.update(samples)),
    ):
        rate = timed(work)
        yield judged(f"speed: {name}", rate > 0, f"{rate:,.0f} tokens/s")


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _memory(learner: Learner, samples: list[Sample], plan_bytes: int) -> Iterator[Line]:
    names = ("peak memory against the plan", "peak memory grows from update to update")
    if learner.device != "cuda":
        yield from (not_here(name, "no GPU: bench.memory counts live tensors on the CPU") for name in names)
        return
    peaks = []
    for _ in range(4):
        torch.cuda.reset_peak_memory_stats()
        learner.update(samples)
        peaks.append(torch.cuda.max_memory_reserved())
    share, growth = peaks[-1] / plan_bytes, peaks[-1] / peaks[1] - 1
    yield judged(names[0], share <= 1.05, f"{peaks[-1] / 2**30:.2f} GiB reserved, {share:.3f} of the plan")
    yield judged(names[1], growth <= GROWTH, f"{100 * growth:.2f}%")


def _same_bytes(config: Config, pairs: list[Pair], samples: list[Sample]) -> Line:
    digests = []
    for _ in range(2):
        learner = Learner(config, pairs)
        learner.update(samples)
        digests.append(sha256(adapter_bytes(learner.lora, config.seed, learner.publish())))
        del learner
    return judged("the same batch gives the same bytes", digests[0] == digests[1], f"{digests[0][:12]}, {digests[1][:12]}")


def _nccl() -> Line:
    """Two ranks sum a tensor over two GPUs."""
    from torch.multiprocessing.spawn import ProcessException, spawn

    try:
        spawn(_rank, args=(2,), nprocs=2)
    except (RuntimeError, ProcessException) as error:
        return judged("two-rank NCCL", False, str(error).strip().splitlines()[-1][:120])
    return judged("two-rank NCCL", True, "sum over 2 GPUs is right")


def _rank(rank: int, size: int) -> None:
    import torch.distributed as dist

    dist.init_process_group("nccl", init_method="tcp://127.0.0.1:29501", rank=rank, world_size=size)
    value = torch.full((1024,), float(rank + 1), device=f"cuda:{rank}")
    dist.all_reduce(value)
    if not bool((value == size * (size + 1) / 2).all()):
        raise RuntimeError("NCCL's sum is wrong")
    dist.destroy_process_group()
