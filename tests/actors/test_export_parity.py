"""A finished export in other hands: PEFT on the base and vLLM with `enable_lora` give the learner's deployed-block logits.

vLLM hands out log-probabilities, so all V of them are compared at every position of a text: logits up to one constant per
position, which no softmax sees. Float32: 1e-4. bfloat16 is measured and bounded loosely: kernels round differently.
"""

import dataclasses
import json

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from actors.training import export
from learner.learner import Learner
from learner.lora2r import Policy
from learner.model import collate, load_model
from vgrout import pairs
from vgrout.config import load
from vgrout.records import Sample, Sampling
from vgrout.run_directory import RunDir

pytestmark = pytest.mark.engine
SETS = ["runtime.learner_threads=1", "lora.rank=32", "optim.lr=3e-3", "optim.warmup=1", "runtime.kv_cache_mib=64"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A learner after three routed updates on authored text, its run directory, and a second one whose quarantine was moved."""
    from pathlib import Path

    config = load(Path("configs/tiny.toml"), arm="routev", seed=3, sets=SETS)
    learner = Learner(config, pairs.load(Path(config.data.pairs)))
    sides = [*learner.router.pairs.hack[:6], *learner.router.pairs.clean[:6]]
    for version in range(3):
        rewards = [3.5 if (n + version) % 3 else 0.0 for n in range(12)]
        learner.update(
            [
                Sample(f"{n // 6}-{n % 6}", n // 6, s.prompt_ids, s.completion_ids, (-1.0,) * len(s.completion_ids),
                       Sampling.TRAIN, version, rewards[n]) for n, s in enumerate(sides)
            ]
        )  # fmt: skip
    root = tmp_path_factory.mktemp("exports")
    run = written(root / "run", config, learner)
    with torch.no_grad():
        for module in learner.lora.modules.values():
            module.a_SI[learner.lora.rank :] += 0.5
            module.b_OS[:, learner.lora.rank :] -= 0.5
    return learner, run, written(root / "perturbed", config, learner)


def written(path, config, learner):
    """A run directory with this learner's checkpoint and the deploy exports of it."""
    run = RunDir.create(path, config, {})
    run.checkpoint(3).mkdir(parents=True)
    for name, data in zip(("train.safetensors", "optimizer.safetensors"), learner.checkpoint(), strict=True):
        (run.checkpoint(3) / name).write_bytes(data)
    for dtype in ("fp32", "bf16"):
        export(run, config, 3, "deploy", run.path / dtype, dtype)
    return run


def test_a_moved_quarantine_leaves_the_deploy_exports_as_they_are(trained):
    _, run, perturbed = trained
    assert (run.checkpoint(3) / "train.safetensors").read_bytes() != (perturbed.checkpoint(3) / "train.safetensors").read_bytes()
    for dtype in ("fp32", "bf16"):
        mine, theirs = ((r.path / dtype / "adapter_model.safetensors").read_bytes() for r in (run, perturbed))
        assert mine == theirs


def learner_logprobs(learner):
    """[T-1, V] log-probabilities of the deployed block on the canary text, and its token ids."""
    batch = collate([learner.canary], "cpu")
    with torch.no_grad(), learner.lora.policy(Policy.DEPLOY):
        logits = learner.model(input_ids=batch.ids_GT, use_cache=False).logits[0].float()
    return logits.log_softmax(-1)[:-1], batch.ids_GT


def vllm_logprobs(folder, base, dtype, ids, rank, vocabulary):
    """The same from vLLM, which loads the folder by `enable_lora` as `vllm serve --lora-modules` does."""
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest

    llm = LLM(
        model=base, dtype=dtype, enable_lora=True, max_lora_rank=rank, max_loras=1, max_model_len=256, max_num_seqs=4,
        max_logprobs=vocabulary, kv_cache_memory_bytes=2**26, block_size=32, enforce_eager=True, seed=0,
    )  # fmt: skip
    params = SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=vocabulary)
    prompt = {"prompt_token_ids": ids[0].tolist()}
    output = llm.generate([prompt], params, lora_request=LoRARequest("deployed", 1, str(folder)), use_tqdm=False)[0]
    rows = [[step[t].logprob for t in range(vocabulary)] for step in output.prompt_logprobs[1:]]
    return torch.tensor(rows)


@pytest.mark.parametrize(("dtype", "limit"), [("fp32", 1e-4), ("bf16", 0.5)])
def test_peft_and_vllm_give_the_learners_logits(trained, dtype, limit, capsys):
    learner, run, _ = trained
    folder, base = run.path / dtype, learner.config.model.path
    about = json.loads((folder / "adapter_config.json").read_text())
    assert about["r"] == about["lora_alpha"] == 64 and about["base_model_name_or_path"] == base
    torch_dtype, expected, ids = torch.float32, *learner_logprobs(learner)
    if dtype == "bf16":  # the learner of a bfloat16 base: bfloat16 weights, float32 adapter
        torch_dtype = torch.bfloat16
        config = dataclasses.replace(learner.config.model, dtype="bfloat16")
        other = Learner(dataclasses.replace(learner.config, model=config), pairs.load(run_pairs(learner)))
        for name, module in other.lora.modules.items():
            with torch.no_grad():
                module.a_SI.copy_(learner.lora.modules[name].a_SI)
                module.b_OS.copy_(learner.lora.modules[name].b_OS)
        expected, ids = learner_logprobs(other)
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch_dtype)
    with torch.no_grad():
        untrained = load_model(learner.config.model, "cpu")(input_ids=ids).logits[0].float().log_softmax(-1)[:-1]
        peft = PeftModel.from_pretrained(plain, str(folder))(input_ids=ids).logits[0].float().log_softmax(-1)[:-1]
    vllm = vllm_logprobs(folder, base, {"fp32": "float32", "bf16": "bfloat16"}[dtype], ids, 64, expected.shape[1])
    gaps = {name: (found - expected).abs().max().item() for name, found in (("PEFT", peft), ("vLLM", vllm))}
    moved = (untrained - expected).abs().max().item()
    with capsys.disabled():
        said = ", ".join(f"{k} {v:.2e}" for k, v in gaps.items())
        print(f"\n{dtype} export against the learner's deployed block, max abs difference: {said}; base {moved:.2f}")
    assert max(gaps.values()) <= limit and moved > 1


def run_pairs(learner):
    from pathlib import Path

    return Path(learner.config.data.pairs)
