"""The whole configuration of a run: its sections, the rules across sections, and how presets, arms and `--set` make one.

Invariant: a `Config` from `load` or `from_dict` is valid; every unknown key, wrong type or value out of range is a UserError
that names file and field. No torch, ray or vllm here.
"""

import dataclasses
from pathlib import Path

from pydantic.dataclasses import dataclass

from vgrout.config_gate import (
    RULES,
    GateConfig,
    GivenGate,
    MatchedGate,
    PairsGate,
    PinnedGate,
    ProbePolicy,
    QuantileGate,
    ScoringGate,
)
from vgrout.config_relaxed import RelaxedConfig
from vgrout.config_runtime import RuntimeConfig
from vgrout.config_sections import (
    PROJECTIONS,
    DataConfig,
    EvalConfig,
    LoraConfig,
    ModelConfig,
    ObjectiveConfig,
    OptimConfig,
    RolloutConfig,
    TeacherConfig,
    TrainConfig,
)
from vgrout.errors import UserError
from vgrout.fields import STRICT, fields_of, option, required
from vgrout.lora_ranks import export_rank
from vgrout.named_files import find, find_arm, is_path
from vgrout.rows import Row
from vgrout.toml_tables import merge, parse_set, read_toml
from vgrout.validate import validate

__all__ = [
    "PROJECTIONS", "Config", "DataConfig", "EvalConfig", "GateConfig", "GivenGate", "LoraConfig", "MatchedGate", "ModelConfig",
    "ObjectiveConfig", "OptimConfig", "PairsGate", "PinnedGate", "QuantileGate", "RelaxedConfig", "RolloutConfig",
    "RuntimeConfig", "ScoringGate", "TeacherConfig", "TrainConfig", "from_dict", "load",
]  # fmt: skip

PATH_FIELDS = (
    ("model", "path"),
    ("data", "train"),
    ("data", "test"),
    ("data", "pairs"),
    ("gate", "reference_run"),
    ("teacher", "path"),
    ("train", "warm_start"),
)
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"  # it becomes part of a folder's name
DEFAULT_ARM = "routev"
DEFAULT_SEED = 41


@dataclass(frozen=True, config=STRICT)
class Config:
    """Everything that decides a run. Random choices follow from `seed` by named streams (vgrout/seeds.py)."""

    preset: str = required("The name of the preset; by default that of its file.", pattern=NAME, max_length=100)
    arm: str = required("The arm that was laid over the preset (routev unless one is given).", pattern=NAME, max_length=100)
    seed: int = required("The seed of every random choice (41 unless one is given).", ge=0, le=2**63 - 1)
    model: ModelConfig = required("The base model.")
    data: DataConfig = required("Problems and pairs.")
    lora: LoraConfig = option(LoraConfig(), "The adapter.")
    gate: GateConfig = option(PairsGate(), "How scores become gate labels.", discriminator="rule")
    objective: ObjectiveConfig = option(ObjectiveConfig(), "The objective.")
    optim: OptimConfig = option(OptimConfig(), "The optimizer.")
    rollout: RolloutConfig = option(RolloutConfig(), "What is sampled.")
    teacher: TeacherConfig = option(TeacherConfig(), "Cached teacher rollouts.")
    relaxed: RelaxedConfig = option(RelaxedConfig(), "Comparators that read audits.")
    train: TrainConfig = option(TrainConfig(), "The length of the run.")
    eval: EvalConfig = option(EvalConfig(), "Evaluation.")
    runtime: RuntimeConfig = option(RuntimeConfig(), "Where the parts run.")

    def to_dict(self) -> Row:
        """Plain JSON types, in field order."""
        return dataclasses.asdict(self)

    @property
    def c_probes_at(self) -> ProbePolicy | None:
        """The policy at which rollouts are c-probed; None where the gate reads none."""
        gate = self.gate
        return gate.probe_policy if isinstance(gate, ScoringGate) and getattr(gate, "space", "") != "activation" else None

    @property
    def has_gradient_directions(self) -> bool:
        """Whether the gate compares c-probes with directions from pairs."""
        return isinstance(self.gate, PairsGate | QuantileGate) and self.c_probes_at is not None

    @property
    def is_relaxed(self) -> bool:
        """Whether training reads audits: a comparator, and not the method."""
        return self.relaxed.use != "none"

    @property
    def probes_completions(self) -> bool:
        """Whether the c-probe acts at the tokens of completions alone."""
        return isinstance(self.gate, ScoringGate) and self.gate.probe_positions == "completion"

    @property
    def works_ahead(self) -> bool:
        """Whether a learner has anything to compute of rollouts before their rewards are known."""
        return isinstance(self.gate, ScoringGate) or self.objective.kl > 0

    def check(self) -> None:
        """Raise UserError for sections that do not go together."""
        samples, teacher = self.rollout.samples, self.teacher
        if teacher.path and teacher.per_prompt >= samples:
            wanted = f"1 to {samples - 1}, so that a group has a student"
            raise UserError("teacher.per_prompt", str(teacher.per_prompt), wanted)
        fraction = self.rollout.deploy_fraction
        for students in {samples, samples - teacher.per_prompt if teacher.path else samples}:
            if 0 < fraction < 1 and round(students * fraction) in (0, students):
                found = f"{fraction:g}, which rounds to {round(students * fraction)} of {students} rollouts of a group"
                raise UserError("rollout.deploy_fraction", found, "0, 1, or a share that leaves rollouts on both sides")
        if (self.relaxed.use == "gate") != isinstance(self.gate, GivenGate):
            found = f"{self.relaxed.use!r} with gate.rule = {self.gate.rule!r}"
            raise UserError("relaxed.use", found, "'gate' with gate.rule = 'given', and only there")
        if teacher.path and self.relaxed.use == "gate":  # its rollouts are not audited, so nothing gives them a label
            raise UserError("relaxed.use", "'gate' beside a teacher", "one of the two: a teacher has no audit to label by")
        if teacher.path and (self.rollout.sampled_with or self.rollout.trained_with):
            raise UserError("rollout.sampled_with, rollout.trained_with", "an instruction beside a teacher", "one of the two")
        if self.rollout.heal_updates > self.train.updates:
            most = f"at most train.updates ({self.train.updates})"
            raise UserError("rollout.heal_updates", str(self.rollout.heal_updates), most)
        if self.eval.null_draws and self.runtime.learner_gpus:
            wanted = "0 with a learner on a GPU, which the driver has none of: run vgrout gate-null afterwards"
            raise UserError("eval.null_draws", str(self.eval.null_draws), wanted)
        rollout = self.rollout
        if self.objective.kl and (rollout.top_k or rollout.top_p < 1):
            field, found = ("top_k", rollout.top_k) if rollout.top_k else ("top_p", rollout.top_p)
            wanted = (
                f"{'0' if rollout.top_k else '1'} with objective.kl > 0: the base gives some of the sampled tokens no probability"
            )
            raise UserError(f"rollout.{field}", f"{found:g}", wanted)
        if self.objective.ratio == "trained" and (rollout.top_k or rollout.top_p < 1):
            wanted = "'sampler' with rollout.top_k or top_p: the policy that trains gives some of the tokens no probability"
            raise UserError("objective.ratio", "'trained'", wanted)
        if self.runtime.deterministic and rollout.top_p < 1:
            wanted = "false with rollout.top_p < 1, whose sums over sorted tokens have no deterministic form on a GPU"
            raise UserError("runtime.deterministic", "true", wanted)
        limit = self.runtime.max_lora_rank
        if limit and limit < export_rank(self.lora.rank):
            need = f"both blocks export at rank {export_rank(1)}r, and runtime.max_lora_rank is {limit}"
            raise UserError("lora.rank", str(self.lora.rank), f"at most {limit // export_rank(1)}: {need}")


def load(preset: Path | str, *, arm: str | None = None, seed: int | None = None, sets: list[str] | None = None) -> Config:
    """Read a preset (a TOML file, or the name of a packaged one), lay the arm over it, then every `--set a.b=c`.

    A preset may inherit: `extends = "qwen3-4b"` (a name, or a path relative to its file). Arms are looked for in the folder
    `arms` beside the preset, then among the packaged ones; an arm may also be given as a path to its file.
    Relative paths in a file are relative to that file; those of `--set` to the working directory.
    Raises UserError naming file and field.
    """
    path = find("", preset)
    table = read_preset(path)
    changes = [_parse_set(text) for text in sets or []]
    name, arm_path = find_arm(path, *_asked_arm(path, arm, table.pop("arm", DEFAULT_ARM)))
    for change in [_read_arm(arm_path), *changes]:
        table = _overlay(table, change)
    if seed is not None and any(change.get("seed", seed) != seed for change in changes):
        raise UserError("--set seed", f"another seed than --seed {seed}", "one of the two")
    table |= {"arm": name, "seed": seed if seed is not None else table.get("seed", DEFAULT_SEED)}
    return from_dict(table, str(path))


def _asked_arm(preset: Path, arm: str | None, own: str) -> tuple[str, str]:
    """(arm, where it is said): that of the command line, else the preset's own."""
    return (own, f"{preset}: arm") if arm is None else (arm, "--arm")


def from_dict(table: Row, where: str) -> Config:
    """Build and check a Config from plain nested dicts. Raises UserError naming the field."""
    gate = table.get("gate", {})
    if isinstance(gate, dict) and "rule" not in gate:
        table = {**table, "gate": {"rule": "pairs", **gate}}
    return validate(Config, table, where)


def read_preset(path: Path, heirs: tuple[Path, ...] = ()) -> Row:
    """A preset's table with what it inherits, its paths made absolute. Raises UserError, also for a circle of `extends`."""
    if path.resolve() in heirs:
        raise UserError(f"{path}: extends", "a circle: this preset inherits from itself", "a chain that ends")
    table = read_toml(path)
    _resolve_paths(table, path.parent)
    table.setdefault("preset", path.stem)
    parent = table.pop("extends", None)
    if parent is None:
        return table
    if not isinstance(parent, str) or not parent:
        raise UserError(f"{path}: extends", repr(parent), "the name of a packaged preset, or the path of a TOML file")
    base = find("", path.parent / parent if is_path(parent) else parent, f"{path}: extends")
    return _overlay(read_preset(base, (*heirs, path.resolve())), table)


def _overlay(table: Row, change: Row) -> Row:
    """`change` laid over `table`. Another gate rule keeps only those of the values below it that it has, too."""
    gate, new = table.get("gate"), change.get("gate")
    if isinstance(gate, dict) and isinstance(new, dict) and new.get("rule") in RULES:
        known = fields_of(RULES[new["rule"]])
        table = {**table, "gate": {key: value for key, value in gate.items() if key in known}}
    return merge(table, change)


def _parse_set(text: str) -> Row:
    change = parse_set(text)
    for key, flag in (("arm", "--arm"), ("extends", "a preset with `extends`")):
        if key in change:
            raise UserError(f"--set {text}", f"a change of `{key}`", flag)
    _resolve_paths(change, Path.cwd())
    return change


def _read_arm(path: Path) -> Row:
    overlay = read_toml(path)
    _resolve_paths(overlay, path.parent)
    for key in ("arm", "preset", "seed", "extends"):
        if key in overlay:
            raise UserError(f"{path}: {key}", f"a key `{key}`", "only the sections that make this arm (gate, lora, data, ...)")
    return overlay


def _resolve_paths(table: Row, base: Path) -> None:
    """Make paths absolute. A model id of the hub stays as it is, and so does a loophole's name among `data.modes`."""
    for section, key in PATH_FIELDS:
        value = table.get(section, {}).get(key) if isinstance(table.get(section, {}), dict) else None
        if isinstance(value, str) and value:
            table[section][key] = _absolute(f"{section}.{key}", value, base)
    data = table.get("data", {})
    if isinstance(data, dict) and isinstance(modes := data.get("modes"), list):
        data["modes"] = [_absolute("data.modes", one, base) if str(one).endswith(".py") else one for one in modes]


def _absolute(field: str, value: str, base: Path) -> str:
    """A path of a field as an absolute one; a model that is no folder stays as it is. Raises UserError."""
    try:
        place = _model_folder(value, base) if field == "model.path" else base / Path(value).expanduser()
        return value if place is None else str(place.resolve())
    except (RuntimeError, ValueError, OSError) as error:  # no home of that user, a null byte, a name that is too long
        raise UserError(field, f"{value!r:.60}", f"a path ({error})") from None


def _model_folder(value: str, base: Path) -> Path | None:
    """The folder that a model path means: it starts as a path does, or there is a model. None for an id of the hub."""
    if value.startswith(("./", "../", "/", "~")):
        return base / Path(value).expanduser()
    return next((root / value for root in (base, Path.cwd()) if (root / value / "config.json").is_file()), None)
