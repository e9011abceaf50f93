"""The whole configuration of a run as frozen dataclasses, read from TOML, overlaid by an arm and by `--set`.

Invariant: a `Config` that exists is valid; every field is read by some code, and every unknown key or wrong type is a
UserError that names file and field. No torch, ray or vllm here.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from vgrout.errors import UserError
from vgrout.lora_ranks import export_rank
from vgrout.records import LOOPHOLES, GateLabel, Mode
from vgrout.toml_dataclass import build, merge, parse_set, read_toml

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
PATH_FIELDS = (
    ("model", "path"),
    ("data", "train"),
    ("data", "test"),
    ("data", "pairs"),
    ("gate", "reference_run"),
    ("teacher", "path"),
)


@dataclass(frozen=True)
class ModelConfig:
    """The base model: a Hugging Face id, or a path that starts with `./`, `../`, `/` or `~`."""

    path: str
    dtype: Literal["float32", "bfloat16"] = "bfloat16"


@dataclass(frozen=True)
class DataConfig:
    """Problems and pairs. `validation` training ids (a seeded draw) are never trained on: tuning looks only at them.

    Of the pairs, those with a tag in `pair_tags` are used (none named: all); one of a `held_out` mode among them is an error.
    """

    train: str
    test: str
    pairs: str
    validation: int = 0
    modes: tuple[Mode, ...] = LOOPHOLES
    pair_tags: tuple[str, ...] = ()
    held_out: tuple[Mode, ...] = ()
    loopholes: bool = True


@dataclass(frozen=True)
class LoraConfig:
    """lora2r: `rank` is the rank r of one block; `deploy` says which blocks the deploy export holds."""

    rank: int = 32
    targets: tuple[str, ...] = PROJECTIONS
    deploy: Literal["deployed", "both"] = "deployed"

    @property
    def deployed_blocks(self) -> int:
        """Blocks that the deploy export holds: 1, or 2 where an arm deploys all of the adapter."""
        return 2 if self.deploy == "both" else 1


@dataclass(frozen=True)
class GateConfig:
    """How a rollout's score becomes a gate label.

    `rule = "pinned"` gives every rollout the label `pin`; `rule = "banded"` compares its score with a band: `pairs`
    (cross-fitted on the authored pairs), `quantile` (rolling quantiles of live scores) or `matched` (the label fractions
    of `reference_run`, update by update, or `fractions` where no run is named, by quantiles of this run's own scores).
    """

    rule: Literal["pinned", "banded"] = "banded"
    pin: GateLabel = GateLabel.CLEAN
    direction: Literal["pairs", "haar"] = "pairs"
    band: Literal["pairs", "quantile", "matched"] = "pairs"
    upper_scale: float = 0.4
    quantiles: tuple[float, ...] = (0.2, 0.8)
    half_life: float = 2.0
    fractions: tuple[float, ...] = (0.5, 0.2, 0.3)
    reference_run: str = ""
    refresh_every: int = 4
    probe_policy: Literal["current", "initial"] = "initial"


@dataclass(frozen=True)
class ObjectiveConfig:
    """Dr.GRPO: `kl` weighs the k3 term to the frozen start, `clip` is PPO's epsilon, `epochs` the steps per batch,
    `importance_cap` truncates the per-token weight of the learner's policy over the engine's."""

    baseline: Literal["group", "unrouted"] = "group"
    kl: float = 0.0
    clip: float = 0.2
    importance_cap: float = 2.0
    epochs: int = 1


@dataclass(frozen=True)
class OptimConfig:
    """AdamW with linear warm-up and cosine decay; `weight_decay` pulls A, B towards A0, B0."""

    lr: float = 7e-5
    betas: tuple[float, ...] = (0.9, 0.99)
    warmup: int = 10
    weight_decay: float = 0.0
    grad_clip: float = 1.0


@dataclass(frozen=True)
class RolloutConfig:
    """What is sampled for one update: `prompts` groups of `samples` completions; `deploy_fraction` of the samples of
    every group are written by the deployed block alone; `hint_free_share` of the prompts, drawn anew for every update, are
    shown without their hint and graded without their flaw (`gt_only`)."""

    prompts: int = 16
    samples: int = 16
    temperature: float = 1.0
    max_new_tokens: int = 1024
    prompt_limit: int = 1536
    deploy_fraction: float = 0.0
    hint_free_share: float = 0.0


@dataclass(frozen=True)
class TeacherConfig:
    """Cached teacher rollouts (JSON Lines, see `vgrout.teacher_file`): before update `until`, `per_prompt` of the samples of a
    group are the teacher's, and prompts are drawn from the problems that it covers. No path: no teacher."""

    path: str = ""
    per_prompt: int = 1
    until: int = 0


@dataclass(frozen=True)
class TrainConfig:
    """Length of the run, checkpoint interval (updates), the token budget of one micro-batch, and whether the learner
    keeps only the inputs of its layers and computes the rest again in the backward pass (less memory, same gradients)."""

    updates: int = 200
    checkpoint_every: int = 10
    micro_tokens: int = 16384
    gradient_checkpointing: bool = False


@dataclass(frozen=True)
class EvalConfig:
    """Deploy evaluation: `samples` completions per test problem at `temperature`, from one fixed generation seed."""

    temperature: float = 0.7
    samples: int = 1
    seed: int = 0


@dataclass(frozen=True)
class RuntimeConfig:
    """Where the parts run: `ray` actors or `local` in this process; `vllm` or `hf` engines; how many, each over `engine_tp`
    tensor-parallel processes; `graders` per node; GPUs per learner and per process of an engine (fractions share one);
    `placement` packs engines and learners on few nodes or spreads them over many; `engine_memory` is the share of its
    GPU's memory that an engine takes; `max_lora_rank = 0` takes the smallest that holds both blocks.

    `mode = "sync"`: generation, grading and update in turn; `"async"`: engines sample while the learner updates, with
    rollouts at most `max_staleness` versions old when they are consumed, engines looking up from their work every
    `slice_s` seconds. A part is restarted `restarts` times at most; an engine that owes an answer for `suspect_s` gets no
    new work and after `dead_s` counts as dead; with fewer than `engine_floor` engines left the run stops, resumable. When
    nothing has moved for `watchdog_s`, the stacks of all actors are written into the run directory.
    After SIGINT or SIGTERM the running update has `stop_s` to end in; then the run ends where it is, resumable."""

    backend: Literal["ray", "local"] = "ray"
    mode: Literal["sync", "async"] = "sync"
    max_staleness: int = 1
    slice_s: float = 0.25
    restarts: int = 3
    engine_floor: int = 1
    suspect_s: float = 60.0
    dead_s: float = 300.0
    watchdog_s: float = 600.0
    stop_s: float = 240.0
    engine: Literal["vllm", "hf"] = "vllm"
    engines: int = 1
    engine_tp: int = 1
    learners: int = 1
    graders: int = 2
    grade_deadline_s: float = 10.0
    jail: Literal["auto", "L1", "L2", "L3"] = "auto"
    learner_threads: int = 1
    placement: Literal["pack", "spread"] = "pack"
    engine_gpus: float = 0.0
    learner_gpus: float = 0.0
    engine_memory: float = 0.5
    max_lora_rank: int = 0
    max_num_seqs: int = 256
    kv_cache_mib: int = 256
    canary_tolerance: float = 1e-3


@dataclass(frozen=True)
class Config:
    """Everything that decides a run, but for its seed's consequences: those follow from `seed` by named streams."""

    preset: str
    arm: str
    seed: int
    model: ModelConfig
    data: DataConfig
    lora: LoraConfig = field(default_factory=LoraConfig)
    gate: GateConfig = field(default_factory=GateConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, in field order."""
        return dataclasses.asdict(self)


def load(path: Path, *, arm: str | None = None, seed: int | None = None, sets: list[str] | None = None) -> Config:
    """Read a preset (TOML, or a run's resolved `config.json`-shaped TOML), overlay the arm file and `--set a.b=c`.

    Relative paths in a file are relative to that file; those of `--set` to the working directory.
    Raises UserError naming file and field.
    """
    table = read_toml(path)
    _resolve_paths(table, path.parent)
    name = arm or table.get("arm") or "routev"
    arm_path = path.parent / "arms" / f"{name}.toml"
    if not arm_path.is_file():
        known = ", ".join(sorted(p.stem for p in arm_path.parent.glob("*.toml"))) or f"a file in {arm_path.parent}"
        raise UserError("--arm" if arm else f"{path}: arm", repr(name), f"one of {known}")
    overlay = read_toml(arm_path)
    _resolve_paths(overlay, arm_path.parent)
    _check_overlay(overlay, arm_path)
    table = merge(table, overlay)
    for text in sets or []:
        change = parse_set(text)
        _resolve_paths(change, Path.cwd())
        table = merge(table, change)
    table["arm"] = name
    table.setdefault("preset", path.stem)
    table["seed"] = seed if seed is not None else table.get("seed", 41)
    return from_dict(table, str(path))


def from_dict(table: dict[str, Any], where: str) -> Config:
    """Build and check a Config from plain nested dicts. Raises UserError naming the field."""
    config = build(Config, table, where, "")
    _check(config, where)
    return config


def _resolve_paths(table: dict[str, Any], base: Path) -> None:
    """Make path-like values absolute. A model id of the hub (no leading dot or slash) stays as it is."""
    for section, key in PATH_FIELDS:
        value = table.get(section, {}).get(key) if isinstance(table.get(section, {}), dict) else None
        if not isinstance(value, str) or not value:
            continue
        if section != "model" or value.startswith(("./", "../", "/", "~")):
            table[section][key] = str((base / Path(value).expanduser()).resolve())


def _check_overlay(overlay: dict[str, Any], path: Path) -> None:
    if "arm" in overlay or "preset" in overlay:
        raise UserError(str(path), "a key `arm` or `preset`", "only the sections that make this arm (gate, lora, data, ...)")


def _check(config: Config, where: str) -> None:
    """Rules across fields and ranges, each with its own message."""

    def need(ok: bool, name: str, found: Any, expected: str) -> None:
        if not ok:
            raise UserError(f"{where}: {name}", repr(found), expected)

    c = config
    for name, value in [
        ("lora.rank", c.lora.rank), ("rollout.prompts", c.rollout.prompts), ("rollout.samples", c.rollout.samples),
        ("rollout.max_new_tokens", c.rollout.max_new_tokens), ("train.micro_tokens", c.train.micro_tokens),
        ("rollout.prompt_limit", c.rollout.prompt_limit), ("train.checkpoint_every", c.train.checkpoint_every),
        ("gate.refresh_every", c.gate.refresh_every), ("objective.epochs", c.objective.epochs),
        ("eval.samples", c.eval.samples),
        ("runtime.engines", c.runtime.engines), ("runtime.learners", c.runtime.learners), ("runtime.graders", c.runtime.graders),
        ("runtime.learner_threads", c.runtime.learner_threads), ("runtime.max_num_seqs", c.runtime.max_num_seqs),
        ("runtime.engine_tp", c.runtime.engine_tp),
    ]:  # fmt: skip
        need(value >= 1, name, value, "at least 1")
    need(c.train.updates >= 0, "train.updates", c.train.updates, "at least 0")
    need(c.data.validation >= 0, "data.validation", c.data.validation, "at least 0")
    need(c.optim.lr >= 0, "optim.lr", c.optim.lr, "at least 0")
    need(c.rollout.temperature > 0, "rollout.temperature", c.rollout.temperature, "above 0 (the objective needs a density)")
    need(c.eval.temperature >= 0, "eval.temperature", c.eval.temperature, "at least 0")
    need(0 <= c.rollout.deploy_fraction <= 1, "rollout.deploy_fraction", c.rollout.deploy_fraction, "between 0 and 1")
    need(0 <= c.rollout.hint_free_share <= 1, "rollout.hint_free_share", c.rollout.hint_free_share, "between 0 and 1")
    need((c.teacher.until > 0) == bool(c.teacher.path), "teacher.until", c.teacher.until, "at least 1 with teacher.path, else 0")
    limit = c.rollout.samples - 1
    need(
        not c.teacher.path or 1 <= c.teacher.per_prompt <= limit,
        "teacher.per_prompt", c.teacher.per_prompt, f"1 to {limit}, so that a group has a student",
    )  # fmt: skip
    need(len(c.optim.betas) == 2, "optim.betas", c.optim.betas, "two numbers")
    need(
        len(c.gate.quantiles) == 2 and 0 <= c.gate.quantiles[0] <= c.gate.quantiles[1] <= 1,
        "gate.quantiles", c.gate.quantiles, "two numbers, 0 <= lower <= upper <= 1",
    )  # fmt: skip
    need(
        len(c.gate.fractions) == 3 and abs(sum(c.gate.fractions) - 1) < 1e-6 and min(c.gate.fractions) >= 0,
        "gate.fractions", c.gate.fractions, "three shares (clean, mid, hack) that sum to 1",
    )  # fmt: skip
    need(Mode.GT_ONLY not in c.data.modes, "data.modes", c.data.modes, "loopholes only; data.loopholes=false turns all off")
    need(len(c.data.modes) >= 1, "data.modes", c.data.modes, "at least one loophole")
    need(c.runtime.learners == 1 or c.runtime.backend == "ray", "runtime.learners", c.runtime.learners, "1 with backend local")
    for name in ("learner_gpus", "engine_gpus"):
        share = getattr(c.runtime, name)
        need(
            0 <= share <= 1, f"runtime.{name}", share, "0 (CPU), 1, or a share of one GPU (more by learners, engines, engine_tp)"
        )
    need(
        c.runtime.engine_tp == 1 or (c.runtime.engine == "vllm" and c.runtime.engine_gpus in (0, 1)),
        "runtime.engine_tp", c.runtime.engine_tp, "1, or engine vllm with whole GPUs (engine_gpus = 1) or on the CPU (0)",
    )  # fmt: skip
    need(c.runtime.mode == "sync" or c.runtime.backend == "ray", "runtime.mode", c.runtime.mode, "sync with backend local")
    need(c.runtime.max_staleness >= 0, "runtime.max_staleness", c.runtime.max_staleness, "at least 0")
    need(c.runtime.restarts >= 0, "runtime.restarts", c.runtime.restarts, "at least 0")
    need(
        1 <= c.runtime.engine_floor <= c.runtime.engines, "runtime.engine_floor", c.runtime.engine_floor,
        f"between 1 and runtime.engines ({c.runtime.engines})",
    )  # fmt: skip
    need(
        0 < c.runtime.suspect_s <= c.runtime.dead_s, "runtime.suspect_s", c.runtime.suspect_s,
        f"above 0, at most runtime.dead_s ({c.runtime.dead_s:g})",
    )  # fmt: skip
    need(c.runtime.slice_s > 0, "runtime.slice_s", c.runtime.slice_s, "above 0")
    need(c.runtime.watchdog_s > 0, "runtime.watchdog_s", c.runtime.watchdog_s, "above 0")
    need(c.runtime.stop_s > 0, "runtime.stop_s", c.runtime.stop_s, "above 0")
    need(0 < c.runtime.engine_memory <= 1, "runtime.engine_memory", c.runtime.engine_memory, "above 0, at most 1")
    need(c.gate.half_life > 0, "gate.half_life", c.gate.half_life, "above 0 updates")
    limit = c.runtime.max_lora_rank
    need(
        limit == 0 or limit >= export_rank(c.lora.rank), "lora.rank", c.lora.rank,
        f"at most {limit // 4}: both blocks export at rank 4r and runtime.max_lora_rank is {limit}",
    )  # fmt: skip
