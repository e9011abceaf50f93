"""The `[runtime]` section: where the parts of a run work, how many there are, and how long they are waited for.

Invariant: nothing here decides what is learned, but for `mode`, `max_staleness`, and the rounding of other hardware.
"""

from typing import Annotated, Literal

from pydantic import StringConstraints
from pydantic.dataclasses import dataclass

from vgrout.errors import UserError
from vgrout.fields import HUGE, STRICT, WEEK, option

ModuleName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)]


@dataclass(frozen=True, config=STRICT)
class RuntimeConfig:
    """Where the parts of a run work: processes, GPUs, threads, deadlines and limits."""

    backend: Literal["ray", "local"] = option("ray", "Ray actors, or everything in one process.")
    mode: Literal["sync", "async"] = option(
        "sync", "Generation, grading and update in turn (sync), or engines that sample while the learner updates (async)."
    )
    max_staleness: int = option(
        1,
        "With mode = 'async': the largest age of a consumed rollout; 0 is lock step.",
        unit="versions",
        ge=0,
        le=1000,
    )
    slice_s: float = option(
        0.25, "With mode = 'async': how long engines decode before they look for new work.", unit="seconds", gt=0, le=3600
    )
    restarts: int = option(3, "How often one part is started again before it is given up.", ge=0, le=HUGE)
    engine_floor: int = option(1, "With fewer engines left the run stops; it can be resumed.", ge=1, le=10_000)
    suspect_s: float = option(60.0, "An engine that owes an answer for so long gets no new work.", unit="seconds", gt=0, le=WEEK)
    dead_s: float = option(300.0, "An engine that owes an answer for so long counts as dead.", unit="seconds", gt=0, le=WEEK)
    watchdog_s: float = option(
        600.0,
        "When nothing has moved for so long, all actors' stacks are written to the run.",
        unit="seconds",
        gt=0,
        le=WEEK,
    )
    stop_s: float = option(
        240.0, "After SIGINT or SIGTERM the running update has so long to end in.", unit="seconds", gt=0, le=WEEK
    )
    engine: Literal["vllm", "hf"] = option("vllm", "What samples: vLLM, or transformers (slow; for tests and odd machines).")
    engines: int = option(1, "Engines.", ge=1, le=10_000)
    engine_tp: int = option(1, "Tensor-parallel processes of one engine.", ge=1, le=1024)
    learners: int = option(1, "Data-parallel learners.", ge=1, le=10_000)
    graders: int = option(2, "Graders per node.", ge=1, le=10_000)
    grade_deadline_s: float = option(
        10.0, "How long one program may run before it counts as timed out.", unit="seconds", gt=0, le=3600
    )
    jail: Literal["auto", "L1", "L2", "L3"] = option(
        "auto", "The sandbox's level; auto takes the strongest that the machine offers (`vgrout doctor` says which)."
    )
    parity: Literal["disclosed", "published"] = option(
        "disclosed",
        "What a loophole pays for: what the prompt's hint says, or all that the published reward pays for (docs/parity.md).",
    )
    packages: tuple[ModuleName, ...] = option(
        ("sortedcontainers",),
        "Third-party modules that programs may import; the default one is left out where it is not installed.",
    )
    learner_threads: int = option(1, "CPU threads of torch in one learner.", ge=1, le=1024)
    side_by_side: int = option(
        1,
        "Micro-batches that a learner on the CPU computes at once, each with `learner_threads` threads; on a GPU always 1.",
        ge=1,
        le=1024,
    )
    reserve_s: float = option(
        40.0,
        "How long Ray may take to find room for all actors; above 40 the cluster may be too small at first (autoscaling).",
        unit="seconds",
        ge=1,
        le=WEEK,
    )
    placement: Literal["pack", "spread"] = option("pack", "Learners and engines on few nodes, or on many.")
    engine_gpus: float = option(0.0, "GPUs of one process of an engine: 0 (CPU), 1, or a share of one.", unit="GPUs", ge=0, le=1)
    learner_gpus: float = option(0.0, "GPUs of one learner: 0 (CPU), 1, or a share of one.", unit="GPUs", ge=0, le=1)
    engine_memory: float = option(0.5, "The share of its GPU's memory that an engine takes, whatever others hold.", gt=0, le=1)
    deterministic: bool = option(
        False,
        "On GPUs: refuse operations whose result depends on timing, and sample with vLLM's batch-invariant kernels (slower).",
    )
    max_lora_rank: int = option(0, "vLLM's max_lora_rank; 0 takes the smallest that holds both blocks.", ge=0, le=HUGE)
    max_num_seqs: int = option(256, "Sequences that an engine decodes at a time.", ge=1, le=1_000_000)
    kv_cache_mib: int = option(256, "KV cache of an engine on the CPU.", unit="MiB", ge=1, le=16_777_216)
    mismatch_limit: float = option(
        0.1,
        "Above this mismatch/kl of an update the run stops: its rollouts are not of the policy that the learner takes them for.",
        unit="nats",
        gt=0,
        le=1e6,
    )
    canary_tolerance: float = option(
        1e-3, "Largest gap of a loaded adapter's canary log-probabilities from the learner's.", unit="nats", ge=0, le=1000
    )

    def check(self) -> None:
        """Raise UserError for parts that do not go together."""
        local = self.backend == "local"
        if local and self.learners > 1:
            raise UserError("learners", str(self.learners), "1 with backend local")
        if local and self.mode == "async":
            raise UserError("mode", "'async'", "'sync' with backend local")
        if self.engine_floor > self.engines:
            raise UserError("engine_floor", str(self.engine_floor), f"between 1 and runtime.engines ({self.engines})")
        if self.suspect_s > self.dead_s:
            raise UserError("suspect_s", f"{self.suspect_s:g}", f"at most runtime.dead_s ({self.dead_s:g})")
        if self.engine_tp > 1 and not (self.engine == "vllm" and self.engine_gpus in (0, 1)):
            wanted = "1, or engine vllm with whole GPUs (engine_gpus = 1) or on the CPU (0)"
            raise UserError("engine_tp", str(self.engine_tp), wanted)
