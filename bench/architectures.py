"""Which architectures work: random tiny models of each are sampled, trained for one update, exported and loaded again.

    python -m bench.architectures --write docs/models.md      # the table of docs/models.md
    python -m bench.architectures --only llama,gemma2         # some of them, printed

Per architecture, in float32 and in its own process: transformers and vLLM engines serve version 0 (digest and canary), sample
a batch, the learner makes one update and a random step of both blocks, both engines serve version 1 and sample again. `mismatch`
is the largest gap between engine and learner on a sampled token of either version, in nats; the exports are loaded in PEFT and
vLLM and compared with the learner's deployed block.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from actors.ray_cluster.environment import CPU_ENGINE

os.environ.update({name: os.environ.get(name, value) for name, value in CPU_ENGINE.items()})  # before torch and vllm come in

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from learner.export import peft_bytes
from learner.learner import Learner
from learner.lora2r import Policy
from learner.model import collate, gather, load_model, logprobs_GT
from learner.peft_folder import adapter_config, write_peft
from learner.tokenizer import encode_prompt
from vgrout import pairs
from vgrout.config import PROJECTIONS, Config, load
from vgrout.errors import UserError
from vgrout.lora_ranks import export_rank
from vgrout.records import Mode, Rollout, Sample, SampleRequest, Sampling

ROOT = Path(__file__).parents[1]
SIZES = {
    "vocab_size": 640, "hidden_size": 128, "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512, "eos_token_id": 1, "bos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")


@dataclass(frozen=True)
class Kind:
    """An architecture: its `model_type`, what its config needs beyond SIZES, and the Linear modules that are wrapped."""

    name: str
    model_type: str
    more: dict[str, Any]
    targets: tuple[str, ...] = PROJECTIONS


KINDS = (
    Kind("Llama", "llama", {}),
    Kind("Qwen2", "qwen2", {}),
    Kind("Qwen3", "qwen3", {"head_dim": 32}),
    Kind("Mistral", "mistral", {"sliding_window": None}),
    Kind("Gemma-2", "gemma2", {"head_dim": 32, "query_pre_attn_scalar": 32}),
    Kind("Gemma-3 (text)", "gemma3_text", {"head_dim": 32, "query_pre_attn_scalar": 32}),
    Kind("OLMo-2", "olmo2", {}),
    Kind("Phi-3", "phi3", {}, ("qkv_proj", "o_proj", "gate_up_proj", "down_proj")),
    Kind("Qwen3-MoE (attention)", "qwen3_moe",
         {"head_dim": 32, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64}, ATTENTION),
    Kind("Granite", "granite", {"logits_scaling": 2.0, "residual_multiplier": 0.5}),
    Kind("Cohere (Command-R)", "cohere", {"logit_scale": 0.5}),
    Kind("SmolLM3", "smollm3", {}),
    Kind("StarCoder2", "starcoder2", {}, (*ATTENTION, "c_fc", "c_proj")),
    Kind("GPT-NeoX", "gpt_neox", {}, ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h")),
)  # fmt: skip
# Tried and expected to be refused: (what, config, targets).
REFUSED = (
    ("Phi-3 with the default targets", "phi3", {}, PROJECTIONS),
    ("Qwen3-MoE with the default targets", "qwen3_moe", KINDS[8].more, PROJECTIONS),
)


@dataclass(frozen=True)
class Row:
    """What became of one architecture; a number is a largest gap in nats, a text says why there is none."""

    name: str
    modules: str
    hf: float | str
    vllm: float | str
    peft: float | str


def write_model(model_type: str, more: dict[str, Any], folder: Path) -> None:
    """A random model whose distributions are far from flat, with the tiny world's tokenizer."""
    torch.manual_seed(0)
    about = AutoConfig.for_model(model_type, **{**SIZES, **more})
    model = AutoModelForCausalLM.from_config(about, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(ROOT / "configs/tiny/model" / name, folder)


def settings(folder: Path, targets: tuple[str, ...]) -> Config:
    """The tiny preset with this model, rank 8, and a step that moves the adapter far."""
    names = "[" + ", ".join(f'"{t}"' for t in targets) + "]"
    sets = [f"model.path={folder}", f"lora.targets={names}", "lora.rank=8", "runtime.backend=local", "runtime.kv_cache_mib=64",
            "optim.lr=1e-3", "optim.warmup=1", "runtime.max_num_seqs=16", "runtime.learner_threads=1"]  # fmt: skip
    return load(ROOT / "configs/tiny.toml", arm="routev", seed=3, sets=sets)


def requests(learner: Learner, problems: list[Any]) -> list[SampleRequest]:
    """Two groups of four, half of each by the deployed block."""
    return [
        SampleRequest(
            group=g, first=2 * k, problem_id=g, mode=Mode.SENTINEL, sampling=sampling,
            prompt_ids=encode_prompt(learner.tokenizer, problems[g].messages),
            seeds=(10 * g + 2 * k, 10 * g + 2 * k + 1), temperature=1.0, max_new_tokens=16,
        )
        for g in range(2) for k, sampling in enumerate(Sampling)
    ]  # fmt: skip


def mismatch(learner: Learner, rollouts: list[Rollout]) -> float:
    """Largest gap between the engine's log-probability of a sampled token and the learner's."""
    worst = 0.0
    for r in rollouts:
        batch = collate([r], learner.device)
        with torch.no_grad(), learner.lora.policy(Policy.TRAIN if r.sampling is Sampling.TRAIN else Policy.DEPLOY):
            (own_T,) = gather(batch, logprobs_GT(learner.model, batch))
        worst = max(worst, (torch.tensor(r.logprobs) - own_T.cpu()).abs().max().item())
    return worst


def as_samples(rollouts: list[Rollout]) -> list[Sample]:
    """With rewards by turns, so that every group has an advantage."""
    return [
        Sample(r.id, r.group, r.prompt_ids, r.completion_ids, r.logprobs, r.sampling, r.version, 3.5 if n % 2 else 0.0)
        for n, r in enumerate(rollouts)
    ]


def one_update(config: Config, engine_class: Any) -> tuple[float, Learner]:
    """Serve, sample, update, serve, sample: the largest mismatch, and the learner after it."""
    problems = pairs.load(Path(config.data.pairs))[:4]
    learner = Learner(config, problems)
    for module in learner.model.modules():
        # vLLM replaces `__call__` of transformers' classes where it serves them; models made before need what that reads.
        module.do_not_compile = True
    engine = engine_class(config, learner.canary_ids())
    engine.load(learner.publish())
    first = engine.generate(requests(learner, problems))
    worst = mismatch(learner, first)
    learner.update(as_samples(first))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in learner.lora.parameters():  # the gate may have left a block where it was
            p.add_(1e-3 * torch.randn(p.shape, generator=generator).sign())
    engine.load(learner.publish())
    worst = max(worst, mismatch(learner, engine.generate(requests(learner, problems))))
    return worst, learner


def in_peft(config: Config, learner: Learner, folder: Path) -> float:
    """Largest gap between the deploy export under PEFT and the learner's deployed block, over all logits of the canary."""
    from peft import PeftModel

    rank = export_rank(config.lora.rank, 1)
    write_peft(folder, peft_bytes(learner.lora.factors(), config.lora.rank, blocks=1),
               adapter_config(config.model.path, rank, config.lora.targets))  # fmt: skip
    ids_GT = collate([learner.canary], learner.device).ids_GT
    base: Any = load_model(config.model, learner.device)
    with torch.no_grad(), learner.lora.policy(Policy.DEPLOY):
        own = learner.model(input_ids=ids_GT, use_cache=False).logits.float().log_softmax(-1)
        theirs = PeftModel.from_pretrained(base, str(folder))(input_ids=ids_GT, use_cache=False).logits.float().log_softmax(-1)
    return (own - theirs).abs().max().item()


def try_kind(kind: Kind) -> Row:
    """One row of the table. Whatever an engine raises becomes the row's text: that is what the table is for."""
    from actors.engines.hf import HfEngine
    from actors.engines.vllm import VllmEngine

    found: dict[str, float | str] = {"hf": "", "vllm": "", "peft": ""}
    modules = "none"
    with tempfile.TemporaryDirectory(prefix="vgrout-architecture-") as scratch:
        folder = Path(scratch) / "model"
        write_model(kind.model_type, kind.more, folder)
        config = settings(folder, kind.targets)
        for name, engine in (("hf", HfEngine), ("vllm", VllmEngine)):
            try:
                found[name], learner = one_update(config, engine)
                modules = f"{len(learner.lora.modules)}: {', '.join(kind.targets)}"
                if found["peft"] == "":
                    found["peft"] = in_peft(config, learner, Path(scratch) / "export")
            except Exception as error:
                found[name] = f"{type(error).__name__}: {(str(error).strip() or '-').splitlines()[0][:160]}"
    return Row(kind.name, modules, found["hf"], found["vllm"], found["peft"])


def in_own_process(kind: Kind) -> Row:
    """`try_kind` in a new process: vLLM keeps what it learned of its first model."""
    command = [sys.executable, "-m", "bench.architectures", "--only", kind.model_type, "--row"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        return Row(**json.loads(done.stdout.strip().splitlines()[-1]))
    except (IndexError, ValueError):
        died = f"the process ended with {done.returncode}"
        return Row(kind.name, "none", died, died, died)


def refusals() -> Iterator[tuple[str, str]]:
    """What is refused, and by which message."""
    for what, model_type, more, targets in REFUSED:
        with tempfile.TemporaryDirectory(prefix="vgrout-architecture-") as scratch:
            write_model(model_type, more, Path(scratch))
            config = settings(Path(scratch), targets)
            try:
                Learner(config, pairs.load(Path(config.data.pairs))[:4])
                yield what, "not refused"
            except UserError as error:
                yield what, str(error)


def number(value: float | str) -> str:
    """A gap, or the reason why there is none."""
    return f"{value:.1e}" if isinstance(value, float) else value or "-"


def render(rows: list[Row], refused: list[tuple[str, str]]) -> str:
    """The table as Markdown."""
    lines = [
        "| architecture | Linear modules wrapped | transformers: mismatch | vLLM: mismatch | deploy export in PEFT |",
        "| --- | --- | --- | --- | --- |",
        *(f"| {r.name} | {r.modules} | {number(r.hf)} | {number(r.vllm)} | {number(r.peft)} |" for r in rows),
        "",
        *(f"- Refused: {what}. `{said}`" for what, said in refused),
    ]
    return "\n".join(lines)


BEGIN, END = "<!-- python -m bench.architectures: begin -->", "<!-- end -->"


def main() -> int:
    """Run and print; exit code 1 where a row has no number."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="model types, separated by commas")
    parser.add_argument("--write", type=Path, help="the page whose table is replaced")
    parser.add_argument("--row", action="store_true", help="in this process, one row as a line of JSON")
    args = parser.parse_args()
    wanted = args.only.split(",") if args.only else [k.model_type for k in KINDS]
    rows = []
    for kind in (k for k in KINDS if k.model_type in wanted):
        if args.row:
            print(json.dumps(asdict(try_kind(kind))))
            return 0
        rows.append(in_own_process(kind))
        print(rows[-1], file=sys.stderr, flush=True)
    table = render(rows, [] if args.only else list(refusals()))
    print(table)
    if args.write:
        before, _, rest = args.write.read_text().partition(BEGIN)
        args.write.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}")
    return 0 if all(isinstance(v, float) for r in rows for v in (r.hf, r.vllm, r.peft)) else 1


if __name__ == "__main__":
    sys.exit(main())
