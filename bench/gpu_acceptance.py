"""The learner's half of `vgrout accept` on a machine with torch, transformers and peft alone (no vLLM, no Ray).

python -m bench.gpu_acceptance                      # GPU: random weights of Qwen3-4B's shape; CPU: a small shape
python -m bench.gpu_acceptance --model DIR          # a real model
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch

from actors.planning.gpu_memory import learner_terms
from actors.planning.model_shape import read_config, shape_of
from bench.memory import random_base, small
from learner.acceptance import CheckStatus, Line, learner_lines, page
from vgrout import pairs
from vgrout.config import Config, load

ROOT = Path(__file__).parents[1]
SMALL_SETS = ["runtime.learner_gpus=0", "runtime.engine_gpus=0", "lora.rank=8", "rollout.max_new_tokens=96",
              "rollout.prompt_limit=32", "train.micro_tokens=1024"]  # fmt: skip
GPU_SETS = ["rollout.max_new_tokens=512", "rollout.prompt_limit=512"]


def lines_of(config: Config, folder: str) -> list[Line]:
    """All lines for the model in `folder`, printed as they come."""
    config = replace(config, model=replace(config.model, path=folder))
    plan = sum(term.bytes for term in learner_terms(config, shape_of(folder)))
    found = []
    for line in learner_lines(config, pairs.load(ROOT / "configs/tiny/pairs.jsonl")[:4], plan):
        print(f"  {line.name}: {line.outcome}", file=sys.stderr, flush=True)
        found.append(line)
    return found


def main() -> int:
    """Run, print the page; exit code 1 where a line failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a model folder (default: random weights)")
    parser.add_argument("--shape", default="Qwen/Qwen3-4B", help="the shape of the random weights on a GPU")
    args = parser.parse_args()
    cuda = torch.cuda.is_available()
    dtype = "bfloat16" if cuda else "float32"
    sets = [f"model.dtype={dtype}", *(GPU_SETS if cuda else SMALL_SETS)]
    config = load(ROOT / "configs/qwen3-4b-fast.toml", arm="routev", sets=sets)
    print(f"{torch.cuda.get_device_name() if cuda else 'CPU'}, torch {torch.__version__}, {dtype}")
    if args.model:
        lines = lines_of(config, str(Path(args.model).resolve()))
    else:
        with random_base(read_config(args.shape) if cuda else small(), dtype, "cuda" if cuda else "cpu") as folder:
            lines = lines_of(config, str(folder))
    print(page(lines))
    return 1 if any(line.outcome is CheckStatus.FAIL for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
