"""The vLLM engine: samples completions with hot-swapped adapters, every rollout signed with the policy that wrote it.

Invariants: a version is served only after its bytes matched the digest and its canary matched the learner's
log-probabilities; the new version is loaded before the old one is dropped; adapter names carry the version, so the
prefix cache (keyed by name) never serves another version's keys and values. A request finishes on the version that was
served when it came in, so one number per rollout is the version of every token of it.
"""

import os
import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors.engines import vllm_cpu_lora_patch as cpu_lora
from actors.engines import vllm_kernel_scan
from actors.engines import vllm_process as engine_core
from actors.engines.adapter_check import AdapterRejected, Gap, check_base, check_canary, check_digest, new_folder
from actors.engines.exports import rollout_of, write_exports
from actors.engines.protocol import Compared, Group, Slice
from actors.planning.adapter_slots import check_precision, lora_limit, slots
from actors.planning.gpu_memory import kv_cache_bytes, kv_need
from actors.planning.model_shape import shape_of
from learner.stop_ids import stop_ids
from learner.tokenizer import decode, load_tokenizer
from vgrout.config import Config
from vgrout.errors import UserError
from vgrout.records import AdapterVersion, FinishReason, Rollout, SampleRequest, Sampling
from vgrout.token_limits import ENGINE_STEP_TOKENS

if TYPE_CHECKING:
    from vllm import SamplingParams
    from vllm.inputs import TokensPrompt
    from vllm.lora.request import LoRARequest
    from vllm.outputs import RequestOutput


def check_platform(config: Config, cpu: bool) -> None:
    """Raise UserError where the installed vLLM and the configuration are for different machines."""
    booked = config.runtime.engine_gpus
    if cpu == bool(booked):
        found = f"{booked:g}, with vLLM's {'CPU' if cpu else 'CUDA'} build"
        raise UserError("runtime.engine_gpus", found, "0 with `vllm-cpu`; a share of a GPU, or 1, with `vllm`")
    check_precision(config)


def check_heads(path: str) -> None:
    """Raise UserError for a base whose attention vLLM has no CPU kernel for, which it would say at the first token."""
    from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

    width, known = shape_of(path).head_dim, CPUAttentionBackend.get_supported_head_sizes()
    if width not in known:
        sizes = ", ".join(map(str, known))
        raise UserError("model.path", f"{path}, with heads of {width}", f"one of {sizes} on the CPU; or runtime.engine = 'hf'")


def shared_gpu_cache(config: Config) -> int:
    """Bytes of keys and values of an engine that shares its GPU, as the plan counts them. Raises UserError for too few."""
    import torch

    shape = shape_of(config.model.path)
    found = kv_cache_bytes(config, shape, torch.cuda.get_device_properties(0).total_memory)
    need = kv_need(config, shape)
    if found < need.bytes:
        share = f"{config.runtime.engine_memory:g}, which leaves {found / 2**20:.0f} MiB for keys and values"
        raise UserError("runtime.engine_memory", share, f"a larger share: at least {need.bytes / 2**20:.0f} MiB, {need.formula}")
    return found


@dataclass(frozen=True)
class Served:
    """The version that new requests are written by."""

    version: int
    digest: str
    requests: dict[Sampling, "LoRARequest"]
    folder: Path


@dataclass
class Running:
    """A group that is being sampled: who wrote it, how many of its completions are still open, and what is done."""

    group: Group
    served: Served
    open: dict[str, tuple[SampleRequest, int]] = field(default_factory=dict)  # engine request id -> (request, index)
    done: list[Rollout] = field(default_factory=list)


@dataclass
class Asked:
    """A comparison of versions: those that were loaded for it, and (request, index, version) by engine request id."""

    loaded: list[Served] = field(default_factory=list)
    open: dict[str, tuple[SampleRequest, int, Served]] = field(default_factory=dict)


class VllmEngine:
    """One vLLM engine in this process. Blocking; run it in an actor of its own."""

    def __init__(self, config: Config, canary: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
        """Load the base. `canary`: (prompt ids, completion ids) whose log-probabilities every version must match."""
        from vllm import LLM
        from vllm.platforms import current_platform

        cpu = current_platform.is_cpu()
        check_platform(config, cpu)
        if cpu:
            check_heads(config.model.path)
            cpu_lora.install()
            vllm_kernel_scan.narrow()
        self.config, self.canary = config, canary
        self.limit = lora_limit(config)
        self.staleness = config.runtime.max_staleness if config.runtime.mode == "async" else 0
        length = config.rollout.prompt_limit + config.rollout.max_new_tokens
        options: dict[str, Any] = {"gpu_memory_utilization": config.runtime.engine_memory, "block_size": 16}
        if not cpu and config.runtime.engine_gpus < 1:
            # vLLM would measure the GPU's free memory, in which a learner's comes and goes.
            options["kv_cache_memory_bytes"] = shared_gpu_cache(config)
        if cpu:
            # 128-token blocks, the CPU default, never cache the short prompts of the tiny world.
            options = {"kv_cache_memory_bytes": config.runtime.kv_cache_mib * 2**20, "block_size": 32, "enforce_eager": True}
        if config.runtime.engine_tp > 1:
            # Child processes of this actor. vLLM's default inside a placement group is Ray workers, outside the engine's bundle.
            options |= {"tensor_parallel_size": config.runtime.engine_tp, "distributed_executor_backend": "mp"}
        engine_core.tie_core()
        with engine_core.cause_told():
            self.llm = LLM(
                model=config.model.path,
                dtype=config.model.dtype,
                max_model_len=length,
                max_num_seqs=config.runtime.max_num_seqs,
                # Seeds per request fail on the CPU where a prompt is chunked, so a step must hold all prompts.
                max_num_batched_tokens=max(ENGINE_STEP_TOKENS, length),
                enable_chunked_prefill=False if cpu else None,
                enable_prefix_caching=True,
                enable_lora=True,
                max_loras=slots(config),
                max_cpu_loras=slots(config),
                max_lora_rank=self.limit,
                # No other module can carry an adapter: vLLM would look one up for the embedding of every token.
                lora_target_modules=list(config.lora.targets),
                logprobs_mode="processed_logprobs",
                generation_config="vllm",
                seed=0,
                disable_log_stats=True,
                **options,
            )
        self.end_core = engine_core.end_with_core(self.llm) if config.runtime.backend == "ray" else lambda: None
        self.tokenizer = load_tokenizer(config.model.path)
        self.stop_ids = stop_ids(config.model.path, self.tokenizer)
        self.root = new_folder()
        self.next_id = 1
        self.served: Served | None = None
        self.base_gap: Gap | None = None  # on the base without an adapter, once per engine
        self.older: list[Served] = []  # versions that running requests still use
        self.running: list[Running] = []
        self.outputs: dict[str, RequestOutput] = {}  # finished, not yet claimed, by request id
        self.count = 0
        self.slice, self.asked = Slice(), Asked()

    def load(self, adapter: AdapterVersion) -> float:
        """Serve `adapter` from now on; returns the canary's gap. Raises AdapterRejected and keeps the old one."""
        new, gap = self._checked(adapter)
        if self.served is not None:
            self.older.append(self.served)
        self.served = new
        self._retire()
        return gap

    def generate(self, requests: list[SampleRequest]) -> list[Rollout]:
        """Sample every request by the served version: rollouts in request order, then seed order."""
        served = self._current()
        with engine_core.together(self.llm):
            open_ = {self._submit(r, i, served): (r, i) for r in requests for i in range(len(r.seeds))}
        self._step_until(lambda: open_.keys() <= self.outputs.keys())
        return [self._rollout(self.outputs.pop(name), request, i, served) for name, (request, i) in open_.items()]

    def compare(self, adapters: list[AdapterVersion], requests: list[SampleRequest], slice_s: float) -> Compared:
        """Sample every request by each of `adapters` in one batch, for at most `slice_s` seconds; [] goes on with those before.

        When all are sampled, the answers are per adapter what `generate` would give, and `adapters` are dropped.
        The served version stays served. If there are too few adapter slots for all, vLLM loads it again from its files.
        """
        if adapters:
            self.asked = self._begin(adapters, requests)
        until, asked = time.monotonic() + slice_s, self.asked
        self._step_until(lambda: all(name in self.outputs for name in asked.open) or time.monotonic() >= until)
        done = sum(name in self.outputs for name in asked.open)
        if done < len(asked.open):
            return Compared(done)
        rollouts = [self._rollout(self.outputs.pop(name), *what) for name, what in asked.open.items()]
        for served in asked.loaded:
            self._drop(served)
        size, self.asked = done // len(asked.loaded), Asked()
        return Compared(done, [rollouts[k * size : (k + 1) * size] for k in range(len(asked.loaded))])

    def _begin(self, adapters: list[AdapterVersion], requests: list[SampleRequest]) -> "Asked":
        """Load the versions of a comparison and submit its requests. Raises AdapterRejected, and then keeps none of them."""
        asked = Asked()
        try:
            for adapter in adapters:
                asked.loaded.append(self._checked(adapter)[0])
        except AdapterRejected:
            for served in asked.loaded:
                self._drop(served)
            raise
        with engine_core.together(self.llm):
            for served in asked.loaded:
                for request in requests:
                    for i in range(len(request.seeds)):
                        asked.open[self._submit(request, i, served)] = (request, i, served)
        return asked

    def advance(self, groups: list[Group], slice_s: float) -> Slice:
        """Add groups to those that are being sampled, and sample until a group is complete, for at most `slice_s` seconds.

        Groups that are given to an idle engine start in the same step, so the same groups give the same bits.
        """
        idle = bool(groups) and not self.running
        with engine_core.together(self.llm) if idle else nullcontext():
            for group in groups:
                running = Running(group, self._current())
                for request in group.requests:
                    for i in range(len(request.seeds)):
                        running.open[self._submit(request, i, running.served)] = (request, i)
                self.running.append(running)
        until = time.monotonic() + slice_s
        self._step_until(lambda: self._collect() or not self.running or time.monotonic() >= until)
        slice_, self.slice = self.slice, Slice()
        return slice_

    def clear(self) -> None:
        """Give up every group that is being sampled."""
        for running in self.running:
            self.llm.llm_engine.abort_request(list(running.open))
        self.running, self.outputs, self.slice = [], {}, Slice()

    def close(self) -> None:
        """Remove the adapter files and end the core process; the engine itself goes with its own."""
        self.end_core()
        shutil.rmtree(self.root, ignore_errors=True)

    def _checked(self, adapter: AdapterVersion) -> tuple[Served, float]:
        """Load and check a version; returns it with its canary's gap. Raises AdapterRejected, and then leaves no files behind."""
        check_digest(adapter)
        new = self._write(adapter)
        try:
            for request in new.requests.values():
                self.llm.llm_engine.add_lora(request)
            return new, max(self._canary_gap(new, adapter, sampling) for sampling in Sampling)
        except AdapterRejected:
            self._drop(new)
            raise

    def _current(self) -> Served:
        if self.served is None:
            raise AdapterRejected("no version has been loaded yet")
        return self.served

    def _submit(self, request: SampleRequest, index: int, served: Served) -> str:
        """Give one completion to vLLM; returns the id that its output will carry."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        params = SamplingParams(
            temperature=request.temperature,
            top_k=request.top_k,
            top_p=request.top_p,
            max_tokens=request.max_new_tokens,
            logprobs=0,
            stop_token_ids=list(self.stop_ids),
            seed=request.seeds[index] % 2**31 if request.temperature > 0 else None,
            detokenize=False,  # the whole text is decoded once, at the end, as in the other engine
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        return self._add(request.prompt_ids, params, served.requests[request.sampling])

    def _add(self, tokens: tuple[int, ...], params: "SamplingParams", adapter: "LoRARequest | None") -> str:
        self.count += 1
        prompt: TokensPrompt = {"prompt_token_ids": list(tokens)}
        self.llm.llm_engine.add_request(str(self.count), prompt, params, lora_request=adapter)
        return str(self.count)

    def _step_until(self, done: Callable[[], bool]) -> None:
        """Step the engine until `done`, and keep finished outputs."""
        from vllm.outputs import RequestOutput
        from vllm.v1.engine.exceptions import EngineDeadError

        while not done():
            try:
                outputs = self.llm.llm_engine.step()
            except EngineDeadError:
                if self.config.runtime.backend == "ray":
                    os._exit(engine_core.CORE_DIED)  # it cannot work without its core; the driver notices that this process ends
                raise
            self.outputs.update((o.request_id, o) for o in outputs if isinstance(o, RequestOutput) and o.finished)

    def _collect(self) -> bool:
        """Move finished completions to their groups, and complete groups to the slice. Returns whether the slice has one."""
        for running in self.running:
            for name in running.open.keys() & self.outputs.keys():
                request, index = running.open.pop(name)
                running.done.append(self._rollout(self.outputs.pop(name), request, index, running.served))
        for running in [r for r in self.running if not r.open]:
            self.running.remove(running)
            self.slice.finished.append((running.group.key, sorted(running.done, key=lambda rollout: rollout.index)))
        if self.slice.finished:
            self._retire()
        return bool(self.slice.finished)

    def _retire(self) -> None:
        """Give up groups that are too old for any update, and drop versions that no request uses any more."""
        oldest = self._current().version - self.staleness
        for running in [r for r in self.running if r.served.version < oldest]:
            self.llm.llm_engine.abort_request(list(running.open))
            for name in running.open:
                self.outputs.pop(name, None)
            self.running.remove(running)
            self.slice.aborted.append(running.group.key)
        used = {id(r.served) for r in self.running}
        for served in [s for s in self.older if id(s) not in used]:
            self.older.remove(served)
            self._drop(served)

    def _rollout(self, whole: "RequestOutput", request: SampleRequest, number: int, served: Served) -> Rollout:
        output = whole.outputs[0]
        ids = tuple(output.token_ids)
        stopped = output.finish_reason == "stop"
        said = [step for step in output.logprobs or () if step is not None]  # as many as tokens: they are asked for
        return rollout_of(
            request,
            number,
            completion_ids=ids,
            logprobs=tuple(step[token].logprob for step, token in zip(said, ids, strict=True)),
            text=decode(self.tokenizer, ids[:-1] if stopped else ids, control_tokens=False),
            finish=FinishReason.STOP if stopped else FinishReason.LENGTH,
            version=served.version,
            digest=served.digest,
        )

    def _write(self, adapter: AdapterVersion) -> Served:
        """Write both exports as PEFT folders under versioned names; vLLM loads adapters from folders."""
        from vllm.lora.request import LoRARequest

        folder = self.root / f"v{adapter.version}-{self.next_id}"
        requests = {}
        for sampling, place in write_exports(folder, adapter, self.config).items():
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
        if self.base_gap is None:
            self.base_gap = check_base(adapter, self._canary_values(None), self.config.model.dtype)
        found = self._canary_values(served.requests[sampling])
        return check_canary(adapter, sampling, found, self.base_gap, self.config.runtime.canary_tolerance)

    def _canary_values(self, lora: "LoRARequest | None") -> tuple[float, ...]:
        """Log-probabilities of the canary's completion under an adapter (None: the base). Sampling of groups continues."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        prompt_ids, completion_ids = self.canary
        tokens = [*prompt_ids, *completion_ids]
        params = SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0, output_kind=RequestOutputKind.FINAL_ONLY)
        name = self._add(tuple(tokens), params, lora)
        self._step_until(lambda: name in self.outputs)
        steps = self.outputs.pop(name).prompt_logprobs
        assert steps is not None  # they are asked for
        said = [step for step in steps[len(prompt_ids) :] if step is not None]
        return tuple(step[token].logprob for step, token in zip(said, completion_ids, strict=True))
