"""The vLLM engine: samples completions with hot-swapped adapters, every rollout signed with the policy that wrote it.

Invariants: a version is served only after its bytes matched the digest and its canary matched the learner's
log-probabilities; the new version is loaded before the old one is dropped; adapter names carry the version, so the
prefix cache (keyed by name) never serves another version's keys and values.
"""

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors import cpu_lora
from actors.adapter import AdapterRejected, check_canary, check_digest
from learner.export import adapter_config, export_rank
from vgrout.config import Config
from vgrout.lora_ranks import SLOTS, lora_limit
from vgrout.records import AdapterVersion, FinishReason, Rollout, SampleRequest, Sampling


@dataclass(frozen=True)
class Served:
    """The version that new requests are written by."""

    version: int
    digest: str
    requests: dict[Sampling, Any]  # LoRARequest by policy
    folder: Path


class VllmEngine:
    """One vLLM engine in this process. Blocking; run it in an actor of its own."""

    def __init__(self, config: Config, canary: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
        """Load the base. `canary`: (prompt ids, completion ids) whose log-probabilities every version must match."""
        from vllm import LLM
        from vllm.platforms import current_platform

        cpu = current_platform.is_cpu()
        if cpu:
            cpu_lora.mend()
        self.config, self.canary = config, canary
        self.limit = lora_limit(config)
        length = config.rollout.prompt_limit + config.rollout.max_new_tokens
        options: dict[str, Any] = {"gpu_memory_utilization": config.runtime.engine_memory, "block_size": 16}
        if cpu:
            # 128-token blocks, the CPU default, never cache the short prompts of the tiny world.
            options = {"kv_cache_memory_bytes": config.runtime.kv_cache_mib * 2**20, "block_size": 32, "enforce_eager": True}
        if config.runtime.engine_tp > 1:
            # Processes of this actor: vLLM's own choice inside a placement group, Ray workers, would leave the engine's bundle.
            options |= {"tensor_parallel_size": config.runtime.engine_tp, "distributed_executor_backend": "mp"}
        self.llm = LLM(
            model=config.model.path,
            dtype=config.model.dtype,
            max_model_len=length,
            max_num_seqs=config.runtime.max_num_seqs,
            # Seeds per request fail on the CPU where a prompt is chunked, so a step must hold all prompts.
            max_num_batched_tokens=max(8192, length),
            enable_chunked_prefill=False if cpu else None,
            enable_prefix_caching=True,
            enable_lora=True,
            max_loras=SLOTS,
            max_cpu_loras=SLOTS,
            max_lora_rank=self.limit,
            logprobs_mode="processed_logprobs",
            generation_config="vllm",
            seed=0,
            disable_log_stats=True,
            **options,
        )
        self.tokenizer = self.llm.get_tokenizer()
        self.root = Path(tempfile.mkdtemp(prefix="vgrout-adapters-"))
        self.next_id = 1
        self.served: Served | None = None

    def load(self, adapter: AdapterVersion) -> float:
        """Serve `adapter` from now on; returns the canary's largest gap. Raises AdapterRejected and keeps the old one."""
        check_digest(adapter)
        new = self._write(adapter)
        try:
            for request in new.requests.values():
                self.llm.llm_engine.add_lora(request)
            gap = max(self._canary_gap(new, adapter, sampling) for sampling in Sampling)
        except AdapterRejected:
            self._drop(new)
            raise
        old, self.served = self.served, new
        if old is not None:
            self._drop(old)
        return gap

    def generate(self, requests: list[SampleRequest]) -> list[Rollout]:
        """Sample every request by the served version: rollouts in request order, then seed order."""
        from vllm import SamplingParams

        if self.served is None:
            raise AdapterRejected("no version has been loaded yet")
        prompts, params, loras, owners = [], [], [], []
        for request in requests:
            for index, seed in enumerate(request.seeds):
                prompts.append({"prompt_token_ids": list(request.prompt_ids)})
                params.append(
                    SamplingParams(
                        temperature=request.temperature,
                        max_tokens=request.max_new_tokens,
                        logprobs=0,
                        seed=seed % 2**31 if request.temperature > 0 else None,
                        skip_special_tokens=True,
                    )
                )
                loras.append(self.served.requests[request.sampling])
                owners.append((request, index, seed))
        outputs = self.llm.generate(prompts, params, lora_request=loras, use_tqdm=False)
        return [
            self._rollout(output.outputs[0], request, index, seed, self.served)
            for output, (request, index, seed) in zip(outputs, owners, strict=True)
        ]

    def close(self) -> None:
        """Remove the adapter files; the engine itself goes with its process."""
        shutil.rmtree(self.root, ignore_errors=True)

    def _rollout(self, output: Any, request: SampleRequest, index: int, seed: int, served: Served) -> Rollout:
        ids = tuple(output.token_ids)
        return Rollout(
            id=f"{request.group}-{request.first + index}",
            group=request.group,
            problem_id=request.problem_id,
            mode=request.mode,
            prompt_ids=request.prompt_ids,
            completion_ids=ids,
            logprobs=tuple(step[token].logprob for step, token in zip(output.logprobs, ids, strict=True)),
            text=output.text,
            finish=FinishReason.STOP if output.finish_reason == "stop" else FinishReason.LENGTH,
            sampling=request.sampling,
            seed=seed,
            version=served.version,
            digest=served.digest,
        )

    def _write(self, adapter: AdapterVersion) -> Served:
        """Write both exports as PEFT folders under versioned names; vLLM loads adapters from folders."""
        from vllm.lora.request import LoRARequest

        folder = self.root / f"v{adapter.version}-{self.next_id}"
        requests = {}
        exports = ((Sampling.TRAIN, adapter.train, 2), (Sampling.DEPLOY, adapter.deploy, adapter.deploy_blocks))
        for sampling, data, blocks in exports:
            place = folder / sampling
            place.mkdir(parents=True)
            # Not `write_peft`: nothing but this process reads the folder, and fsync would cost more than the load.
            (place / "adapter_model.safetensors").write_bytes(data)
            rank = export_rank(self.config.lora.rank, blocks)
            about = adapter_config(self.config.model.path, rank, self.config.lora.targets)
            (place / "adapter_config.json").write_text(json.dumps(about))
            requests[sampling] = LoRARequest(
                lora_name=f"v{adapter.version}-{sampling}-{self.next_id}", lora_int_id=self.next_id, lora_path=str(place)
            )
            self.next_id += 1
        return Served(adapter.version, adapter.digest, requests, folder)

    def _drop(self, served: Served) -> None:
        for request in served.requests.values():
            self.llm.llm_engine.remove_lora(request.lora_int_id)
        shutil.rmtree(served.folder)

    def _canary_gap(self, served: Served, adapter: AdapterVersion, sampling: Sampling) -> float:
        from vllm import SamplingParams

        prompt_ids, completion_ids = self.canary
        tokens = [*prompt_ids, *completion_ids]
        params = SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0)
        prompt: Any = {"prompt_token_ids": tokens}
        output: Any = self.llm.generate([prompt], params, lora_request=served.requests[sampling], use_tqdm=False)[0]
        steps = output.prompt_logprobs[len(prompt_ids) :]
        values = tuple(step[token].logprob for step, token in zip(steps, completion_ids, strict=True))
        return check_canary(adapter, sampling, values, self.config.runtime.canary_tolerance)
