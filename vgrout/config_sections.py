"""The sections of a run's configuration but `[gate]` and `[runtime]`: model, data, adapter, objective, sampling, length.

Invariant: every field is read by some code, and says its range, unit and meaning; a rule across the fields of one section
is in the section's `check`.
"""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from vgrout.errors import UserError
from vgrout.fields import HUGE, STRICT, each_once, option, required
from vgrout.records import GENERAL, LOOPHOLES, Mode

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
# The mode of a plug-in is the name of its file, without `.py`.
FOUR = ", ".join(LOOPHOLES)
ModeOrFile = Annotated[
    str, Field(pattern=rf"^({'|'.join(LOOPHOLES)}|.*\.py)$", description=f"{FOUR}, or the path of a Python file")
]
ModeName = Annotated[str, Field(min_length=1, description=f"{FOUR}, or the name of a file in data.modes")]
PairTag = Annotated[str, Field(min_length=1, description=f"{FOUR}, {GENERAL}, or the name of a file in data.modes")]
Name = Annotated[str, Field(min_length=1)]
PLUG_IN_NAME = "[a-z][a-z0-9_]*"
TAKEN = (*map(str, Mode), GENERAL, "all")  # what else stands where the name of a loophole can stand


@dataclass(frozen=True, config=STRICT)
class ModelConfig:
    """The base model."""

    path: str = required("A Hugging Face id, or a path that starts with ./, ../, / or ~.", min_length=1)
    dtype: Literal["float32", "bfloat16"] = option("bfloat16", "The precision of the base; the adapter is always float32.")

    @property
    def export_dtype(self) -> str:
        """The precision in which versions are published: what an engine casts them to anyway."""
        return "bf16" if self.dtype == "bfloat16" else "fp32"


@dataclass(frozen=True, config=STRICT)
class DataConfig:
    """Problems, and the authored pairs that are the only source of routing labels."""

    train: str = required("Training problems, a JSON Lines file.", min_length=1)
    test: str = required("Test problems, a JSON Lines file.", min_length=1)
    pairs: str = required("Authored (hack, clean) pairs, a JSON Lines file.", min_length=1)
    validation: int = option(
        0,
        "Training problems (a seeded draw) that are never trained on, for tuning.",
        unit="problems",
        ge=0,
        le=HUGE,
    )
    partition_seed: int = option(
        0,
        "Decides which problem gets which loophole, and the validation slice: runs of one value are asked the same.",
        ge=0,
        le=2**63 - 1,
    )
    modes: tuple[ModeOrFile, ...] = option(
        LOOPHOLES, "The loopholes that problems are given, evenly; a Python file is a loophole of your own.", min_length=1
    )
    pair_tags: tuple[PairTag, ...] = option((), "Use the pairs with one of these tags alone; none named: all pairs.")
    held_out: tuple[ModeName, ...] = option((), "Loopholes that no pair in use may be tagged with.")
    over_limit: Literal["error", "drop"] = option(
        "error",
        "Problems whose prompt is above rollout.prompt_limit: an error that lists them, or dropped and counted in run.json.",
    )
    loopholes: bool = option(
        True, "false: training problems are graded without any loophole, and disclose none. What is evaluated stays the same."
    )

    def check(self) -> None:
        """Raise UserError for a value given twice, and for pairs that are asked for and held out at once."""
        for name, values in (("modes", self.mode_names), ("pair_tags", self.pair_tags), ("held_out", self.held_out)):
            each_once(name, values)
        for name in self.plug_ins:
            if name in TAKEN or not re.fullmatch(PLUG_IN_NAME, name):
                known = f"{PLUG_IN_NAME}.py, with another name than {', '.join(TAKEN)}"
                raise UserError("modes", f"the file name {name}.py", f"a file name of the form {known}")
        for field, known in (("held_out", self.known_modes), ("pair_tags", (*self.known_modes, GENERAL))):
            if unknown := [name for name in getattr(self, field) if name not in known]:
                raise UserError(field, repr(unknown[0]), f"some of {', '.join(known)}")
        if both := sorted(set(self.pair_tags) & set(self.held_out)):
            raise UserError("held_out", f"{both[0]!r}, which is in data.pair_tags too", "each mode in one of the two at most")

    @property
    def mode_names(self) -> tuple[str, ...]:
        """`modes` by name: that of a plug-in's file is its name without `.py`."""
        return tuple(Path(one).stem if one.endswith(".py") else str(one) for one in self.modes)

    @property
    def plug_ins(self) -> dict[str, Path]:
        """The files of loopholes that do not come with vGROUT, by name."""
        return {Path(one).stem: Path(one) for one in self.modes if one.endswith(".py")}

    @property
    def known_modes(self) -> tuple[str, ...]:
        """The names of all loopholes that pairs and teacher rollouts may be of."""
        return (*map(str, LOOPHOLES), *self.plug_ins)


@dataclass(frozen=True, config=STRICT)
class LoraConfig:
    """lora2r: one LoRA of rank 2r per target, its first half deployed, its second half the quarantine."""

    rank: int = option(32, "The rank r of one block.", ge=1, le=65_536)
    targets: tuple[Name, ...] = option(PROJECTIONS, "Last names of the Linear modules that get an adapter.", min_length=1)
    deploy: Literal["deployed", "both"] = option("deployed", "The blocks that the deploy export holds.")

    @property
    def deployed_blocks(self) -> int:
        """Blocks that the deploy export holds: 1, or 2 where an arm deploys all of the adapter."""
        return 2 if self.deploy == "both" else 1

    def check(self) -> None:
        """Raise UserError for a target named twice."""
        each_once("targets", self.targets)


@dataclass(frozen=True, config=STRICT)
class ObjectiveConfig:
    """Dr.GRPO (learner/objective.py)."""

    baseline: Literal["group", "unrouted"] = option(
        "group", "What is subtracted from a reward: the group's mean, or, for clean and mid, the mean without routed rollouts."
    )
    normalise: Literal["none", "sigma"] = option(
        "none", "sigma: divide an advantage by the standard deviation of its group's rewards (GRPO); none: leave it (Dr.GRPO)."
    )
    aggregate: Literal["constant", "tokens"] = option(
        "constant",
        "What the sum over tokens is divided by: rollouts times rollout.max_new_tokens (Dr.GRPO), or the batch's completion "
        "tokens (DAPO's token mean).",
    )
    kl: float = option(0.0, "Weight of the k3 term towards the frozen start; 0: none.", ge=0, le=1000)
    kl_on: Literal["all", "varied"] = option(
        "all", "varied: the k3 term leaves out groups whose rewards do not vary, which then have no gradient at all."
    )
    ratio: Literal["sampler", "trained"] = option(
        "sampler",
        "Which policy's probability is weighed against the engine's, capped at importance_cap. sampler: the policy that wrote "
        "the rollout, as the learner computes it; trained: the policy that the rollout's label trains, which makes another "
        "policy's rollouts off-policy data.",
    )
    clip: float = option(0.2, "PPO's epsilon.", gt=0, le=10)
    importance_cap: float = option(
        2.0, "Upper bound of the per-token weight of the learner's policy over the engine's.", ge=1, le=1e6
    )
    epochs: int = option(1, "Optimizer steps per batch.", ge=1, le=1000)


@dataclass(frozen=True, config=STRICT)
class OptimConfig:
    """AdamW with linear warm-up and cosine decay."""

    lr: float = option(7e-5, "Peak learning rate; 0 is a control that trains nothing.", ge=0, le=1)
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = option(
        (0.9, 0.99), "AdamW's decay rates of the first and second moment.", min_length=2, max_length=2
    )
    warmup: int = option(10, "Updates over which the learning rate rises.", unit="updates", ge=0, le=HUGE)
    weight_decay: float = option(0.0, "Pull of A and B towards their start A0 and B0, per unit of learning rate.", ge=0, le=1)
    grad_clip: float = option(1.0, "Largest norm of the gradient; a large number clips nothing.", gt=0, le=1e12)
    clip_by: Literal["adapter", "block"] = option(
        "adapter", "Whether grad_clip bounds the norm over both blocks, or that of each block by itself."
    )


@dataclass(frozen=True, config=STRICT)
class RolloutConfig:
    """What is sampled for one update."""

    prompts: int = option(16, "Groups per update.", ge=1, le=1_000_000)
    samples: int = option(16, "Rollouts per group; one alone has no baseline.", ge=2, le=100_000)
    temperature: float = option(1.0, "Sampling temperature; the objective needs the density that was sampled from.", gt=0, le=100)
    top_k: int = option(
        0,
        "Sample from this many most likely tokens alone; 0: from all. The objective computes with the density that is left.",
        ge=0,
        le=HUGE,
    )
    top_p: float = option(
        1.0, "Sample from the smallest set of tokens that holds this share of the probability alone, after top_k.", gt=0, le=1
    )
    max_new_tokens: int = option(1024, "Longest completion.", unit="tokens", ge=1, le=10_000_000)
    prompt_limit: int = option(1536, "Longest prompt, with its hint and the chat template.", unit="tokens", ge=1, le=10_000_000)
    deploy_fraction: float = option(
        0.0, "Share of every group's rollouts that is sampled from the deployed block alone.", ge=0, le=1
    )
    heal_updates: int = option(
        0,
        "In this many last updates whole groups are sampled from the deployed block alone, as if the quarantine were gone: a "
        "repair on what the gate does not route (retain-heal). They come at the end of the cosine, so they move little: the "
        "learning rates of the last 20 of 200 sum to 0.2 of the peak one, of the last 50 to 2.8.",
        unit="updates",
        ge=0,
        le=HUGE,
    )
    hint_free_share: float = option(
        0.0,
        "Share of the prompts, drawn anew in every update, without their hint and graded without their flaw.",
        ge=0,
        le=1,
    )
    sampled_with: str = option(
        "", "An instruction at the end of every training prompt that is sampled from; evaluations never have it.", max_length=2000
    )
    trained_with: str = option(
        "",
        "The instruction in its place when the update computes with the rollout. Where it differs from sampled_with, importance "
        "weights are 1 (arXiv 2512.19027).",
        max_length=2000,
    )


@dataclass(frozen=True, config=STRICT)
class TeacherConfig:
    """Cached teacher rollouts in the first updates (vgrout/teacher_file.py describes the file)."""

    path: str = option("", "Teacher rollouts, a JSON Lines file; empty: no teacher.")
    per_prompt: int = option(1, "Rollouts of a group that are the teacher's.", ge=1, le=100_000)
    until: int = option(0, "The teacher takes part in updates before this one.", unit="updates", ge=0, le=HUGE)

    def check(self) -> None:
        """Raise UserError for a teacher without updates, or updates without a teacher."""
        if (self.until > 0) != bool(self.path):
            raise UserError("until", str(self.until), "at least 1 with teacher.path, else 0")
        if self.per_prompt > 1 and not self.path:
            raise UserError("per_prompt", str(self.per_prompt), "teacher.path beside it")


@dataclass(frozen=True, config=STRICT)
class TrainConfig:
    """The length of a run, and how the learner spends memory."""

    updates: int = option(200, "Optimizer updates; 0: the untouched base, evaluated as every arm is.", ge=0, le=HUGE)
    warm_start: str = option(
        "",
        "A train.safetensors of another run of the same seed, model and rank, whose A and B this one begins with; the KL "
        "reference and the initial c-probe stay those of the base.",
    )
    checkpoint_every: int = option(10, "Updates between two checkpoints.", unit="updates", ge=1, le=HUGE)
    micro_tokens: int = option(16_384, "Tokens of one micro-batch of the learner.", unit="tokens", ge=1, le=HUGE)
    gradient_checkpointing: bool = option(
        False, "Keep only the inputs of layers and compute the rest again: less memory, the same gradients."
    )


@dataclass(frozen=True, config=STRICT)
class EvalConfig:
    """Evaluation of checkpoints on whole splits."""

    temperature: float = option(0.7, "Sampling temperature; 0 is greedy.", ge=0, le=100)
    samples: int = option(1, "Completions per problem.", ge=1, le=100_000)
    seed: int = option(0, "The seed of generation, the same for all runs.", ge=0, le=2**63 - 1)
    forms: tuple[Literal["no_hint", "closed", "novel"], ...] = option(
        (),
        "Further forms in which `vgrout train --eval-curve` asks the test split of the last checkpoint: no_hint (loopholes open, "
        "no prompt speaks of them), closed (prompts speak of loopholes that do not pay), novel (in other words).",
    )
    null_draws: int = option(
        0,
        "Random directions that `vgrout train --eval-curve` compares the gate's own with after training (`vgrout gate-null`); "
        "0: none. It loads the model once more, on the CPU.",
        ge=0,
        le=100_000,
    )

    def check(self) -> None:
        """Raise UserError for copies of one greedy completion, which would count as independent samples."""
        each_once("forms", self.forms)
        if self.temperature == 0 and self.samples > 1:
            raise UserError("samples", str(self.samples), "1 at eval.temperature = 0: greedy completions are all the same")
