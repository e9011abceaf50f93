"""Peak memory of a learner's routed update on random weights, beside the figure of `vgrout train --dry-run`.

    python -m bench.memory                                   # GPU: Qwen3-4B's shape at the `fast` size
    python -m bench.memory --set train.micro_tokens=8192     # any field of configs/qwen3-4b-fast.toml
    python -m bench.memory --small [--dtype float32]         # anywhere: an eighth as wide, 3 layers
    python -m bench.memory --model meta-llama/Llama-3.1-8B --layers 2 --short   # anywhere: full width, cut depth, short rollouts

Needs torch, transformers and this checkout, neither Ray nor vLLM. On a GPU the peak is what torch's allocator reserved; on the
CPU it is the bytes of all live tensors, counted op by op, without the plan's `runtime` term (the CUDA context).
"""

import argparse
import contextlib
import json
import random
import shutil
import sys
import tempfile
import time
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoModelForCausalLM, Qwen3Config

from actors.planning.gpu_memory import GIB, learner_terms
from actors.planning.model_shape import read_config, shape_of
from learner.learner import Learner
from vgrout import pairs
from vgrout.config import Config, load
from vgrout.records import GateLabel, Sample, Sampling

ROOT = Path(__file__).parents[1]
# The rollouts of a label share a prompt and fill a micro-batch: two here, four below, whose completions fill a chunk of the head.
SMALL_SETS = ["lora.rank=4", "rollout.prompts=1", "rollout.samples=6", "rollout.max_new_tokens=224", "rollout.prompt_limit=32",
              "train.micro_tokens=480", "runtime.learner_threads=1"]  # fmt: skip
SHORT_SETS = ["rollout.prompts=1", "rollout.samples=12", "rollout.max_new_tokens=256", "rollout.prompt_limit=64",
              "train.micro_tokens=1088", "runtime.learner_threads=2"]  # fmt: skip

BRIEF = 8  # tokens of the first update's completions


def small(layers: int = 3, vocabulary: int = 4096) -> Qwen3Config:
    """Qwen3, an eighth as wide as the 4B model."""
    return Qwen3Config(
        vocab_size=vocabulary, hidden_size=320, intermediate_size=1216, num_hidden_layers=layers, num_attention_heads=4,
        num_key_value_heads=1, head_dim=128, tie_word_embeddings=True, max_position_embeddings=40960, rope_theta=1e6,
    )  # fmt: skip


def cut(config: Any, layers: int) -> Any:
    """The same model with fewer layers."""
    text = config.get_text_config()
    text.num_hidden_layers = layers
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:layers]
    return config


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of every storage that an op made and that is still alive; `peak` is the largest sum."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.known: dict[int, weakref.finalize] = {}

    def add(self, tensor: torch.Tensor) -> None:
        """Count a tensor's storage until it is freed."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self.known:
            return
        self.now += size
        self.peak = max(self.peak, self.now)
        self.known[key] = weakref.finalize(storage, self._freed, key, size)

    def _freed(self, key: int, size: int) -> None:
        self.now -= size
        self.known.pop(key, None)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                self.add(leaf)
        return out


@contextlib.contextmanager
def random_base(about: Any, dtype: str, device: str) -> Iterator[Path]:
    """A model folder of random weights of this transformers config, with the tiny world's tokenizer."""
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(about, dtype=getattr(torch, dtype))
    with tempfile.TemporaryDirectory(prefix="vgrout-memory-") as folder:
        model.save_pretrained(folder)
        del model
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            shutil.copy(ROOT / "configs/tiny/model" / name, folder)
        yield Path(folder)


def longest_samples(config: Config, seed: int, tokens: int | None = None) -> list[Sample]:
    """A batch of full-length rollouts of random tokens with random rewards. `tokens`: the completions' length, if another."""
    draw, r, samples = random.Random(seed), config.rollout, []
    length = tokens or r.max_new_tokens

    def ids(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(1, 600) for _ in range(count))

    for group in range(r.prompts):
        prompt = ids(r.prompt_limit)
        for n in range(r.samples):
            reward = draw.choice([0.0, 0.5, 3.5])
            samples.append(Sample(f"{group}-{n}", group, prompt, ids(length), (-6.0,) * length, Sampling.TRAIN, 0, reward))
    return samples


def measure(config: Config, labels: tuple[GateLabel, ...] = tuple(GateLabel)) -> dict[str, float]:
    """Peak bytes of two updates, rollouts labelled by turns from `labels`. The first is of short completions: the second, of
    full length, has AdamW's moments from the start."""
    learner = Learner(config, pairs.load(ROOT / "configs/tiny/pairs.jsonl")[:4])
    give = learner.router.label

    def relabelled(*args: Any) -> Any:  # the c-probe runs as it does in training; random scores would all fall on one side
        return [labels[i % len(labels)] for i in range(len(give(*args)))]

    learner.router.label = relabelled
    if learner.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        for seed, tokens in ((1, BRIEF), (2, None)):
            learner.update(longest_samples(config, seed, tokens))
        free, total = torch.cuda.mem_get_info()
        return {"peak": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved(), "used": total - free}
    counter = LiveBytes()
    for tensor in [*learner.model.parameters(), *learner.model.buffers()]:
        counter.add(tensor)
    with counter:
        for seed, tokens in ((1, BRIEF), (2, None)):
            learner.update(longest_samples(config, seed, tokens))
    return {"peak": counter.peak}


def main() -> None:
    """Measure, and print the plan's terms, the peak and their ratio as text and as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="the small shape, for machines without a GPU")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="a.b=c")
    parser.add_argument("--model", default="Qwen/Qwen3-4B", help="a model folder or id whose shape it has (random weights)")
    parser.add_argument("--layers", type=int, help="cut the model to this many layers")
    parser.add_argument("--short", action="store_true", help="12 rollouts of 320 tokens")
    args = parser.parse_args()
    cuda = torch.cuda.is_available()
    if not (cuda or args.small or args.short):
        sys.exit("no GPU here: the full shape needs one; --small, or --layers 2 --short, measures on the CPU")
    sizes = SMALL_SETS if args.small else SHORT_SETS if args.short else []
    device = [] if cuda else ["runtime.learner_gpus=0", "runtime.engine_gpus=0"]
    sets = [f"model.dtype={args.dtype}", *device, *sizes, *args.sets]
    about = small() if args.small else read_config(args.model)
    if args.layers:
        cut(about, args.layers)
    config = load(ROOT / "configs/qwen3-4b-fast.toml", arm="routev", sets=sets)
    started = time.monotonic()
    with random_base(about, args.dtype, "cuda" if cuda else "cpu") as folder:
        config = replace(config, model=replace(config.model, path=str(folder)))
        found = measure(config)
        terms = learner_terms(config, shape_of(str(folder)))
    for term in terms:
        print(f"{term.name:<12} {term.bytes / GIB:9.4f} GiB  {term.formula}")
    plan = sum(t.bytes for t in terms if cuda or t.name != "runtime")
    peak = found["reserved"] if cuda else found["peak"]
    device = torch.cuda.get_device_name() if cuda else "CPU, live tensors, without `runtime`"
    print(f"plan {plan / GIB:.4f} GiB, measured {peak / GIB:.4f} GiB ({device}), measured / plan = {peak / plan:.3f}")
    said = {"model": "small" if args.small else args.model, "layers": args.layers, "plan": plan, **found, "ratio": peak / plan}
    said |= {"device": device, "torch": torch.__version__, "seconds": round(time.monotonic() - started, 1), "sets": sets}
    print(json.dumps(said))


if __name__ == "__main__":
    main()
