"""What an engine's adapter slots can hold: vLLM's ranks, and the number of slots that hot swapping needs.

Invariant: both blocks of a run fit the engine's rank, or the run is refused before anything starts.
"""

from vgrout.config import Config
from vgrout.errors import UserError
from vgrout.lora_ranks import export_rank

LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # what vLLM accepts as max_lora_rank


def slots(config: Config) -> int:
    """Adapter slots of an engine: train and deploy exports of S + 2 versions.

    Requests finish on the version they began with, and no update takes one more than S versions old, so S + 1 versions
    can be in use (one in lock step) beside the one that is being loaded. One slot too few silently evicts a live policy.
    """
    staleness = config.runtime.max_staleness if config.runtime.mode == "async" else 0
    return 2 * (staleness + 2)


def lora_limit(config: Config) -> int:
    """The engine's max_lora_rank: as configured, or the smallest that holds both blocks. Raises UserError if none does."""
    need = export_rank(config.lora.rank)
    fitting = [r for r in LORA_RANKS if r >= max(need, config.runtime.max_lora_rank)]
    if not fitting:
        found = f"{config.lora.rank} (both blocks export at rank {need})"
        raise UserError("lora.rank", found, f"at most {LORA_RANKS[-1] // 4}: vLLM's adapters end at rank {LORA_RANKS[-1]}")
    return fitting[0]


def check_precision(config: Config) -> None:
    """Raise UserError for float32 with vLLM on a GPU: its Triton LoRA kernels take 16-bit numbers only."""
    runtime = config.runtime
    if config.model.dtype == "float32" and runtime.engine == "vllm" and runtime.engine_gpus:
        raise UserError("model.dtype", "float32 with vLLM on a GPU", "bfloat16 (as the preset tiny-gpu), or runtime.engine=hf")
