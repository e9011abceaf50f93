"""Sampling one batch: our CPU engine against Hugging Face `generate`, with one adapter and with two, at 96 and 256 sequences.

    python -m bench.generate --out out/bench [--rounds 5] [--short]

Both sample the same prompts of the tiny bank at temperature 1 from the same published version, to the same completion limit, and
both return log-probabilities. `two adapters` samples half of every group by the deployed block alone. Hugging Face gets one
batch of all sequences of an adapter, padded on the left, with PEFT; what is compared is completion tokens per second, since
lengths differ from draw to draw. `--short` times Hugging Face alone, at 8 sequences.
"""

import os
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from actors.ray_cluster.environment import CPU_ENGINE
from bench.measure import Series, run_part
from vgrout import pairs
from vgrout.config import Config, load
from vgrout.records import AdapterVersion, Mode, SampleRequest, Sampling

ROOT = Path(__file__).parents[1]
PART = "generate"
SIZES = (96, 256)
GROUP = 8
BAR = 1.5


def requests_of(config: Config, prompts: list[tuple[int, ...]], count: int, *, both: bool, turn: int) -> list[SampleRequest]:
    """Groups of GROUP sequences; with `both`, the second half of each is the deployed block's."""
    found = []
    for group in range(count // GROUP):
        seeds = tuple(10_000 * turn + GROUP * group + i for i in range(GROUP))
        half = GROUP // 2 if both else GROUP
        for sampling, first, stop in ((Sampling.TRAIN, 0, half), (Sampling.DEPLOY, half, GROUP)):
            if first < stop:
                found.append(
                    SampleRequest(
                        group=group, first=first, problem_id=group, mode=Mode.SENTINEL,
                        prompt_ids=prompts[group % len(prompts)], sampling=sampling, seeds=seeds[first:stop],
                        temperature=1.0, max_new_tokens=config.rollout.max_new_tokens,
                    )
                )  # fmt: skip
    return found


@contextmanager
def hugging_face(config: Config, version: AdapterVersion) -> Iterator[Callable[[list[SampleRequest]], int]]:
    """Samples requests with transformers and PEFT, one batch per adapter; completion tokens, end included."""
    import torch
    from peft import PeftModel

    from actors.engines.exports import write_exports
    from learner.model import load_model
    from learner.tokenizer import load_tokenizer

    folder = Path(tempfile.mkdtemp(prefix="vgrout-bench-"))
    model: Any = None
    for sampling, place in write_exports(folder, version, config).items():
        name = f"{sampling}_adapter"
        if model is None:
            model = PeftModel.from_pretrained(load_model(config.model, "cpu"), str(place), adapter_name=name)  # pyright: ignore
        else:
            model.load_adapter(str(place), adapter_name=name)
    shutil.rmtree(folder)
    end = load_tokenizer(config.model.path).eos_token_id

    def sample(requests: list[SampleRequest]) -> int:
        tokens = 0
        for sampling in Sampling:
            rows = [r.prompt_ids for r in requests if r.sampling is sampling for _ in r.seeds]
            if not rows:
                continue
            width = max(map(len, rows))
            ids = torch.tensor([(0,) * (width - len(row)) + row for row in rows])
            seen = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
            model.set_adapter(f"{sampling}_adapter")
            with torch.no_grad():
                out = model.generate(
                    input_ids=ids, attention_mask=seen, max_new_tokens=config.rollout.max_new_tokens, do_sample=True,
                    temperature=1.0, top_k=0, top_p=1.0, return_dict_in_generate=True, output_scores=True, pad_token_id=0,
                )  # fmt: skip
            made = out.sequences[:, width:]
            torch.stack([s.float().log_softmax(-1) for s in out.scores], 1).gather(2, made[..., None])
            tokens += int(((made == end).cumsum(1) - (made == end).long() == 0).sum())
        return tokens

    yield sample


def measure(rounds: int, short: bool) -> list[Series]:
    """Completion tokens per second of both, in turns."""
    for name, value in CPU_ENGINE.items():
        os.environ.setdefault(name, value)
    from learner.learner import Learner
    from learner.tokenizer import encode_prompt

    config = load(ROOT / "configs/tiny.toml", arm="routev", sets=["runtime.backend=local"])
    authored = pairs.load(ROOT / "configs/tiny/pairs.jsonl")
    learner = Learner(config, authored[:4])
    version = learner.publish()
    prompts = list(dict.fromkeys(encode_prompt(learner.tokenizer, pair.messages) for pair in authored))
    taken: dict[str, list[float]] = defaultdict(list)
    with hugging_face(config, version) as theirs:
        candidates: dict[str, Callable[[list[SampleRequest]], int]] = {"Hugging Face": theirs}
        engine: Any = None
        if not short:
            from actors.engines.vllm import VllmEngine

            engine = VllmEngine(config, learner.canary_ids())
            engine.load(version)
            candidates["ours"] = lambda requests: sum(len(r.completion_ids) for r in engine.generate(requests))
        for turn in range(-1, rounds):  # the first round warms up
            for count in (GROUP,) if short else SIZES:
                for both in (False, True):
                    for who, sample in candidates.items():
                        requests = requests_of(config, prompts, count, both=both, turn=turn + 1)
                        began = time.perf_counter()
                        tokens = sample(requests)
                        if turn >= 0:
                            row = f"{count} sequences, {'two adapters' if both else 'one adapter'}: {who}"
                            taken[row].append(tokens / (time.perf_counter() - began))
        if engine is not None:
            engine.close()
    series = [Series(PART, name, "tokens/s", tuple(values)) for name, values in taken.items()]
    by_name = {one.name: one.median for one in series}
    for name, median in by_name.items():
        if name.endswith(": ours"):
            ratio = median / by_name[name.replace(": ours", ": Hugging Face")]
            row = f"{name.removesuffix(': ours')}: ours / Hugging Face (bar {BAR})"
            series.append(Series("generate, ratios", row, "x", (ratio,)))
    return series


if __name__ == "__main__":
    run_part(PART, measure, __doc__)
