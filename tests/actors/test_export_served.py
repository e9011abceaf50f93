"""The export behind vLLM's OpenAI-compatible server, by the command on its own model card: the adapter's name answers as the
learner's deployed block does, the base's name as the untrained base."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
import torch
from ray_nodes import free_port
from test_export_parity import SETS, written

from learner.learner import Learner
from learner.lora2r import Policy
from learner.model import collate
from vgrout import pairs
from vgrout.config import load

pytestmark = pytest.mark.engine
SMALL = ["--dtype=float32", "--enforce-eager", "--max-model-len=256", "--max-num-seqs=4", "--host=127.0.0.1"]


def card_command(folder: Path, port: int) -> list[str]:
    """The card's `vllm serve BASE ...`. The CPU build has no package called `vllm`, whose version that command asks for at its
    start, and so fails; the module behind it takes the same options."""
    (line,) = [text for text in (folder / "README.md").read_text().splitlines() if text.startswith("vllm serve ")]
    _, _, base, *options = shlex.split(line.replace("THIS_FOLDER", str(folder)))
    server = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", base]
    return [*server, *options, *SMALL, f"--port={port}"]


def wait_until_healthy(process: subprocess.Popen, port: int, log: Path, patience_s: float = 400) -> None:
    until = time.monotonic() + patience_s
    while True:
        assert process.poll() is None and time.monotonic() < until, log.read_text()[-4000:]
        try:
            return urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
        except (URLError, TimeoutError, ConnectionError):
            time.sleep(1)


def answer(port: int, model: str, ids: list[int]) -> tuple[torch.Tensor, str]:
    """(log-probabilities of ids[1:], greedy continuation) by the name of a model."""
    body = {"model": model, "prompt": ids, "max_tokens": 16, "temperature": 0, "prompt_logprobs": 0}
    url, head = f"http://127.0.0.1:{port}/v1/completions", {"Content-Type": "application/json"}
    with urlopen(Request(url, json.dumps(body).encode(), head), timeout=120) as response:
        choice = json.load(response)["choices"][0]
    steps = choice["prompt_logprobs"][1:]
    return torch.tensor([step[str(token)]["logprob"] for step, token in zip(steps, ids[1:], strict=True)]), choice["text"]


def test_the_cards_command_serves_the_adapter_beside_the_base(tmp_path, capsys):
    config = load(Path("configs/tiny.toml"), arm="routev", seed=3, sets=SETS)
    learner = Learner(config, pairs.load(Path(config.data.pairs)))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in learner.lora.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    folder = written(tmp_path / "run", config, learner).path / "fp32"
    batch = collate([learner.canary], "cpu")
    ids = batch.ids_GT[0].tolist()
    expected = {}
    for name, policy in (("adapter", Policy.DEPLOY), ("both blocks", Policy.TRAIN), (config.model.path, Policy.BASE)):
        with torch.no_grad(), learner.lora.policy(policy):
            rows = learner.model(input_ids=batch.ids_GT, use_cache=False).logits[0].float().log_softmax(-1)[:-1]
        expected[name] = rows.gather(1, batch.ids_GT[0, 1:, None]).squeeze(1)
    port, log = free_port(), tmp_path / "server.log"
    env = {k: v for k, v in os.environ.items() if k != "VLLM_ENABLE_V1_MULTIPROCESSING"} | {"VLLM_CPU_KVCACHE_SPACE": "1"}
    with log.open("wb") as file:
        command = card_command(folder, port)
        server = subprocess.Popen(command, env=env, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        wait_until_healthy(server, port, log)
        found = {name: answer(port, name, ids) for name in ("adapter", config.model.path)}
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
    gaps = {name: (values - expected[name]).abs().max().item() for name, (values, _) in found.items()}
    moved = min((expected["adapter"] - expected[other]).abs().max().item() for other in ("both blocks", config.model.path))
    with capsys.disabled():
        print(f"\nserved against the learner, max abs difference: {gaps}; deployed block to base and both blocks {moved:.2f}")
        print("\n".join(f"{Path(name).name}: {text!r}" for name, (_, text) in found.items()))
    assert max(gaps.values()) <= 1e-4 and moved > 0.1
