"""The Hugging Face engine: transformers generate with PEFT adapters, for machines without vLLM. Same interface, slower.

Invariants: as the vLLM engine's (digest and canary before serving, every rollout signed). The adapter comes in through
PEFT's own loader, so this engine is also an independent reader of the exports.
"""

import shutil
import tempfile
import time
from pathlib import Path

import torch
from peft import PeftModel
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel

from actors.engines.adapter_check import AdapterRejected, Gap, check_base, check_canary, check_digest
from actors.engines.exports import rollout_of, write_exports
from actors.engines.protocol import Compared, Group, Slice
from learner.device import device
from learner.model import collate, load_model, logprobs_GT
from learner.pair_tokens import Side
from learner.stop_ids import stop_ids
from learner.tokenizer import decode, load_tokenizer
from vgrout.config import Config
from vgrout.records import AdapterVersion, FinishReason, Rollout, SampleRequest, Sampling

NAMES = {Sampling.TRAIN: "both_blocks", Sampling.DEPLOY: "deployed_block"}  # in PEFT adapter names; "train" is taken by torch


class HfEngine:
    """One transformers model, loaded once, with the served version's two adapters."""

    def __init__(self, config: Config, canary: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
        """Load the base. `canary`: (prompt ids, completion ids) whose log-probabilities every version must match."""
        self.config, self.canary = config, Side(*canary)
        self.device = device(config.runtime.engine_gpus, "runtime.engine_gpus")
        self.tokenizer = load_tokenizer(config.model.path)
        self.stop_ids = stop_ids(config.model.path, self.tokenizer)
        self.peft: PeftModel | None = None
        self.adapters: dict[Sampling, str] = {}  # PEFT names of the served version
        self.loads = 0
        self.served: AdapterVersion | None = None
        self.base_gap: Gap | None = None
        self.to_ask: list[tuple[int, AdapterVersion, SampleRequest]] = []  # what is left of a comparison, by place of its version
        self.answers: list[list[Rollout]] = []  # of a comparison, one list a version

    def load(self, adapter: AdapterVersion) -> float:
        """Serve `adapter` from now on; returns the canary's gap. Raises AdapterRejected and keeps the old one."""
        check_digest(adapter)
        self.loads += 1
        names = {sampling: f"{name}_{self.loads}" for sampling, name in NAMES.items()}
        peft = self._with_adapters(adapter, names)
        try:
            gap = max(self._canary_gap(peft, adapter, sampling, names[sampling]) for sampling in Sampling)
        except AdapterRejected:
            self._drop(peft, names)
            raise
        old, self.peft, self.adapters, self.served = self.adapters, peft.eval(), names, adapter
        self._drop(peft, old)
        return gap

    def _with_adapters(self, adapter: AdapterVersion, names: dict[Sampling, str]) -> PeftModel:
        """The model with a version's adapters beside those that it has."""
        folder, peft = Path(tempfile.mkdtemp(prefix="vgrout-adapter-")), self.peft
        try:
            for sampling, place in write_exports(folder, adapter, self.config).items():
                if peft is None:
                    base = load_model(self.config.model, self.device)
                    base.generation_config = GenerationConfig()  # nothing of the model file's own penalties and beams
                    peft = PeftModel.from_pretrained(base, str(place), adapter_name=names[sampling])
                else:
                    peft.load_adapter(str(place), adapter_name=names[sampling])
        finally:
            shutil.rmtree(folder)
        assert peft is not None
        return peft

    def _drop(self, peft: PeftModel, names: dict[Sampling, str]) -> None:
        for name in names.values() if peft is self.peft else ():  # a model whose first version was refused is not kept at all
            peft.delete_adapter(name)

    def generate(self, requests: list[SampleRequest]) -> list[Rollout]:
        """Sample every request by the served version: rollouts in request order, then seed order."""
        return [rollout for request in requests for rollout in self._group(request)]

    def compare(self, adapters: list[AdapterVersion], requests: list[SampleRequest], slice_s: float) -> Compared:
        """Sample every request by each of `adapters`, one after the other, for at most `slice_s` seconds; [] goes on with
        those before. The last one stays served."""
        if adapters:
            self.to_ask = [(place, adapter, request) for place, adapter in enumerate(adapters) for request in requests]
            self.answers = [[] for _ in adapters]
        until = time.monotonic() + slice_s
        while self.to_ask and time.monotonic() < until:
            place, adapter, request = self.to_ask.pop(0)
            if self.served is not adapter:
                self.load(adapter)
            self.answers[place] += self._group(request)
        done = sum(map(len, self.answers))
        return Compared(done) if self.to_ask else Compared(done, self.answers)

    def advance(self, groups: list[Group], slice_s: float) -> Slice:
        """Sample all groups to their end: transformers' generate cannot be interrupted, so `slice_s` has no effect."""
        return Slice([(group.key, self.generate(list(group.requests))) for group in groups])

    def clear(self) -> None:
        """Does nothing: no sampling goes on between two calls."""

    def close(self) -> None:
        """Drop the model."""
        self.peft, self.adapters = None, {}

    def _group(self, request: SampleRequest) -> list[Rollout]:
        peft, served = self.peft, self.served
        if peft is None or served is None:
            raise AdapterRejected("no version has been loaded yet")
        peft.set_adapter(self.adapters[request.sampling])
        prompt_GT = torch.tensor([request.prompt_ids] * len(request.seeds), device=self.device)
        torch.manual_seed(request.seeds[0])  # one stream per group: generate draws for the whole batch at once
        greedy = request.temperature == 0
        choice = {} if greedy else {"temperature": request.temperature, "top_k": request.top_k, "top_p": request.top_p}
        with torch.no_grad():
            out = peft.generate(
                input_ids=prompt_GT,
                attention_mask=torch.ones_like(prompt_GT),
                max_new_tokens=request.max_new_tokens,
                do_sample=not greedy,
                return_dict_in_generate=True,
                output_scores=True,
                pad_token_id=0,
                eos_token_id=list(self.stop_ids),
                **choice,
            )
        tokens_GT = out.sequences[:, prompt_GT.shape[1] :].cpu()
        logprob_GT = torch.stack([s.float().log_softmax(-1) for s in out.scores], 1).cpu()
        logprob_GT = logprob_GT.gather(2, tokens_GT[..., None]).squeeze(2)
        return [self._rollout(request, i, tokens_GT[i], logprob_GT[i], served) for i in range(len(request.seeds))]

    def _rollout(
        self, request: SampleRequest, number: int, tokens_T: Tensor, logprob_T: Tensor, served: AdapterVersion
    ) -> Rollout:
        ids = tokens_T.tolist()
        stop = next((place for place, one in enumerate(ids) if one in self.stop_ids), None)
        length = len(ids) if stop is None else stop + 1
        return rollout_of(
            request,
            number,
            completion_ids=tuple(ids[:length]),
            logprobs=tuple(logprob_T[:length].tolist()),
            text=decode(self.tokenizer, ids[:stop], control_tokens=False),
            finish=FinishReason.LENGTH if stop is None else FinishReason.STOP,
            version=served.version,
            digest=served.digest,
        )

    def _canary_gap(self, peft: PeftModel, adapter: AdapterVersion, sampling: Sampling, name: str) -> float:
        if self.base_gap is None:
            with peft.disable_adapter():
                self.base_gap = check_base(adapter, self._canary_values(peft), self.config.model.dtype)
        peft.set_adapter(name)
        tolerance = self.config.runtime.canary_tolerance
        return check_canary(adapter, sampling, self._canary_values(peft), self.base_gap, tolerance)

    def _canary_values(self, peft: PeftModel) -> tuple[float, ...]:
        base, batch = peft.get_base_model(), collate([self.canary], self.device)
        assert isinstance(base, PreTrainedModel)
        with torch.no_grad():
            return tuple(logprobs_GT(base, batch)[batch.completion_GT].tolist())
