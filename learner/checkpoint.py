"""Checkpoints of the learner as two whole safetensors files: `train.safetensors` (adapter) and `optimizer.safetensors`.

Invariant: a learner restored from them goes on bit-identically; A0 and B0 are not stored but made again from the seed
and checked by digest, so the adapter file can be exported without the base model.
"""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from learner.gate import Band, ScoreHistory
from learner.lora2r import Factors, Lora2r, initial_factors
from learner.optimizer import Optimizer
from learner.router import Refresh, Router
from vgrout.config import QuantileGate
from vgrout.errors import UserError
from vgrout.files import sha256
from vgrout.records import AdapterVersion
from vgrout.rows import Row

FORMAT = "vgrout-adapter-2"


def initial_digest(factors: dict[str, Factors]) -> str:
    """SHA-256 over all A0 and B0: equal for all arms of a seed."""
    parts = (t.cpu().numpy().tobytes() for _, f in sorted(factors.items()) for t in (f.a0_SI, f.b0_OS))
    return sha256(b"".join(parts))


def adapter_bytes(lora: Lora2r, seed: int, published: AdapterVersion) -> bytes:
    """The adapter as trained, with what a reader needs to export it and to check an engine by canary."""
    factors = lora.factors()
    tensors: dict[str, Tensor] = {}
    for name, f in factors.items():
        tensors[f"{name}.a"], tensors[f"{name}.b"] = f.a_SI.cpu().contiguous(), f.b_OS.cpu().contiguous()
    about = {
        "format": FORMAT,
        "version": published.version,
        "rank": lora.rank,
        "seed": seed,
        "initial_digest": initial_digest(factors),
        "digest": published.digest,
        "published_dtype": published.dtype,
        "canary_train": published.canary_train,
        "canary_deploy": published.canary_deploy,
        "canary_base": published.canary_base,
    }
    return save(tensors, metadata={"vgrout": json.dumps(about)})


def optimizer_bytes(lora: Lora2r, optimizer: Optimizer, router: Router, version: int) -> bytes:
    """AdamW's moments, v_grad, the band and the score history."""
    tensors: dict[str, Tensor] = {}
    for index, parameter in enumerate(lora.parameters()):
        for key, value in optimizer.adam.state.get(parameter, {}).items():
            tensors[f"{index}.{key}"] = value.cpu().contiguous()
    about: Row = {"version": version}
    if router.refresh is not None:
        tensors["v_DMR"] = router.refresh.v_DMR.contiguous()
        kept = router.refresh
        if kept.centre_MR is not None:
            tensors["centre_MR"] = kept.centre_MR.contiguous()
        about["refresh"] = [kept.band.lower, kept.band.upper, kept.overlap, kept.separation]
    if router.history is not None:
        about["history"] = router.history.updates
    return save(tensors, metadata={"vgrout": json.dumps(about)})


def parse_adapter(data: bytes, where: str) -> tuple[dict[str, Factors], Row]:
    """(factors, about) of the bytes of a `train.safetensors`. Raises UserError naming `where`."""
    tensors, about = _parse(data, where)
    if about.get("format") != FORMAT:
        raise UserError(where, f"format {about.get('format')!r}", FORMAT)
    factors = {}
    for name in (key.removesuffix(".a") for key in tensors if key.endswith(".a")):
        a_SI, b_OS = tensors[f"{name}.a"], tensors[f"{name}.b"]
        a0_SI, b0_OS = initial_factors(name, a_SI.shape[1], b_OS.shape[0], about["rank"], about["seed"])
        factors[name] = Factors(a_SI, b_OS, a0_SI, b0_OS)
    if initial_digest(factors) != about["initial_digest"]:
        raise UserError(where, "initial factors that differ from the recorded digest", "the torch version of the run")
    return factors, about


def restore(lora: Lora2r, optimizer: Optimizer, router: Router, adapter: bytes, moments_file: bytes) -> int:
    """Put a checkpoint's two files into parts of the same configuration, fresh or used; returns the version."""
    factors, about = parse_adapter(adapter, "train.safetensors")
    moments, extra = _parse(moments_file, "optimizer.safetensors")
    if extra["version"] != about["version"]:
        raise UserError("checkpoint", f"adapter {about['version']} beside optimizer {extra['version']}", "one version")
    _check_modules(lora, factors)
    with torch.no_grad():
        for name, module in lora.modules.items():
            module.a_SI.copy_(factors[name].a_SI)
            module.b_OS.copy_(factors[name].b_OS)
    optimizer.adam.state.clear()
    router.refresh = router.history = router.extracted = None
    for index, parameter in enumerate(lora.parameters()):
        state = {k.split(".", 1)[1]: v for k, v in moments.items() if k.startswith(f"{index}.")}
        if state:  # torch keeps AdamW's step counter on the CPU
            optimizer.adam.state[parameter] = {k: v if k == "step" else v.to(parameter.device) for k, v in state.items()}
    if "refresh" in extra:
        lower, upper, overlap, separation = extra["refresh"]
        router.refresh = Refresh(moments["v_DMR"], Band(lower, upper), overlap, separation, moments.get("centre_MR"))
    if "history" in extra and isinstance(router.config, QuantileGate):
        updates = tuple(tuple(scores) for scores in extra["history"])
        router.history = ScoreHistory(router.config.half_life, updates)
    return about["version"]


def warm_start(lora: Lora2r, path: Path) -> None:
    """Begin with the A and B of another run's `train.safetensors`, of the same seed. Raises UserError for any other file."""
    try:
        factors, _ = parse_adapter(path.read_bytes(), str(path))
    except OSError as error:
        raise UserError(f"train.warm_start {path}", str(error.strerror), "a train.safetensors of another run") from None
    _check_modules(lora, factors)
    if initial_digest(factors) != initial_digest(lora.factors()):
        raise UserError(f"train.warm_start {path}", "an adapter with other initial values", "one of a run of the same seed")
    with torch.no_grad():
        for name, module in lora.modules.items():
            module.a_SI.copy_(factors[name].a_SI)
            module.b_OS.copy_(factors[name].b_OS)


def _check_modules(lora: Lora2r, factors: dict[str, Factors]) -> None:
    """Raise UserError for an adapter of another base model, rank or set of targets."""
    for name, module in lora.modules.items():
        if name not in factors:
            raise UserError("train.safetensors", f"no module {name}", "an adapter of this base model and these lora.targets")
        found, expected = (tuple(m.a_SI.shape) + tuple(m.b_OS.shape) for m in (factors[name], module))
        if found != expected:
            raise UserError(f"train.safetensors: {name}", f"A and B of {found}", f"{expected}, as the base model has it")


def _parse(data: bytes, where: str) -> tuple[dict[str, Tensor], Row]:
    """(tensors, the `vgrout` metadata) of safetensors bytes."""
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise UserError(where, f"a damaged file ({error})", "a whole safetensors file") from None
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return tensors, json.loads(header.get("__metadata__", {}).get("vgrout", "{}"))
