"""How well v_grad tells a run's own hacks from the rest, beside directions drawn at random: the null that a gate must beat.

Invariant: this runs after training and changes nothing of the run but `gate_null.json`. It reads audits, so no label and no
setting may be chosen by what it says on the runs that are reported.
Shapes: G rollouts, D directions, M modules, R rank of one block.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from actors.made_of import base_here, places
from learner.cprobe import probe
from learner.learner import Learner
from learner.vgrad import haar, score
from vgrout import ingredients
from vgrout import pairs as pair_file
from vgrout.config import PairsGate, QuantileGate
from vgrout.errors import UserError
from vgrout.files import file_sha256, write_json
from vgrout.records import Author, Status
from vgrout.rows import Row
from vgrout.run_directory import RunDir
from vgrout.seeds import rng, stream

FILE = "gate_null.json"
DRAWS, ROLLOUTS = 200, 576


@dataclass(frozen=True)
class Probed:
    """A rollout as the probe takes it."""

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]

    @staticmethod
    def of(row: Row) -> "Probed":
        """From a line of rollouts.jsonl that has its prompt."""
        return Probed(tuple(row["prompt_ids"]), tuple(row["completion_ids"]))


class NothingToTellApart(UserError):
    """A run without hacks, or with nothing else."""


def write_null(run: RunDir, draws: int = DRAWS, count: int = ROLLOUTS) -> Row:
    """Compute the null of a finished run on at most `count` of its rollouts, drawn evenly; write and return the record.

    With c-probes at the initial policy all updates are drawn from. With c-probes at the current policy only those whose
    checkpoint is kept are, and every rollout is probed at the policy that its update began with and compared with the direction
    that the gate had then, of its last refresh.
    Raises UserError for a run whose gate has no direction, NothingToTellApart for one without hacks or without other rollouts.
    """
    config = run.config()
    gate = config.gate
    if not isinstance(gate, PairsGate | QuantileGate):
        raise UserError(f"{run.path / 'run.json'}: gate.rule", repr(gate.rule), "a gate with directions from pairs")
    if not config.has_gradient_directions:
        raise UserError(f"{run.path / 'run.json'}: gate.space", "'activation'", "'gradient'")
    initial = gate.probe_policy == "initial"
    rows, hacks = _rollouts(run, None if initial else set(run.checkpoints()), count, config.seed)
    if not any(hacks) or all(hacks):
        raise NothingToTellApart(
            str(run.path), f"{sum(hacks)} hacks in {len(hacks)} rollouts", "hacks and other rollouts to tell apart"
        )

    here = {"data.pairs": file_sha256(Path(config.data.pairs)), **base_here(config)}
    ingredients.check(run, here, "gate-null", False, places(config, here))
    data = config.data
    pairs = pair_file.load(Path(data.pairs), data.held_out, data.pair_tags, data.known_modes)
    learner, share = Learner(config, pairs), config.probes_completions
    model, lora, budget = learner.model, learner.lora, config.train.micro_tokens
    real_G, random_DG = torch.empty(len(rows)), torch.empty(draws, len(rows))
    for version in [0] if initial else sorted({row["update"] for row in rows}):
        if not initial:
            learner.restore(*run.read_checkpoint(version))
        mine = [i for i, row in enumerate(rows) if initial or row["update"] == version]
        learner.router.ready(model, lora, version)  # what this update scored with: of its refresh, or of the one before it
        assert learner.router.refresh is not None
        v_DMR = learner.router.refresh.v_DMR
        cgrad_GMR = probe(model, lora, [Probed.of(rows[i]) for i in mine], initial=initial, budget=budget, share=share)
        real_G[mine] = score(cgrad_GMR, v_DMR, gate.score)
        for draw in range(draws):
            random_DMR = haar(len(v_DMR), len(lora.modules), lora.rank, stream(config.seed, "gate null", draw))
            random_DG[draw, mine] = score(cgrad_GMR, random_DMR, gate.score)

    real, null = auroc(real_G[None], hacks).item(), auroc(random_DG, hacks)
    record: Row = {
        "schema": 1,
        "arm": config.arm,
        "seed": config.seed,
        "probe_policy": gate.probe_policy,
        "rollouts": len(rows),
        "hacks": sum(hacks),
        "auroc": real,
        "null": asdict(Null.of(null)),
        "share_at_or_above": (null >= real).double().mean().item(),
    }
    write_json(run.path / FILE, record)
    return record


@dataclass(frozen=True)
class Null:
    """AUROCs of random directions."""

    draws: int
    mean: float
    sd: float
    p95: float
    largest: float

    @staticmethod
    def of(null_D: Tensor) -> "Null":
        """Summary of one AUROC per draw."""
        p95 = torch.quantile(null_D, 0.95).item()
        return Null(len(null_D), null_D.mean().item(), null_D.std().item(), p95, null_D.max().item())


def auroc(score_DG: Tensor, positive: list[bool]) -> Tensor:
    """[D]: for each row of scores, the chance that a positive scores above a negative, ties counted half."""
    truth_G = torch.tensor(positive)
    up_DP, down_DN = score_DG.double()[:, truth_G], score_DG.double()[:, ~truth_G]
    sign_D = [torch.sign(up[:, None] - down).mean() for up, down in zip(up_DP, down_DN, strict=True)]
    return (1 + torch.stack(sign_D)) / 2


def _rollouts(run: RunDir, updates: set[int] | None, count: int, seed: int) -> tuple[list[Row], list[bool]]:
    """Graded rollouts of the policy that trains, with their prompts; and whether each is a hack."""
    audits = {row["rollout_id"]: row for row in run.read("audits.jsonl")}
    found, prompts = [], {}
    for row in run.read("rollouts.jsonl"):
        prompts.setdefault(row["group"], row.get("prompt_ids"))
        audit = audits.get(row["id"])
        if audit is None or audit["status"] == Status.INFRA_ERROR or row["author"] != Author.STUDENT:
            continue
        if updates is None or row["update"] in updates:
            found.append({**row, "prompt_ids": prompts[row["group"]], "hack": audit["exploited"]})
    chosen = sorted(rng(seed, "gate null").sample(range(len(found)), min(count, len(found))))
    return [found[i] for i in chosen], [bool(found[i]["hack"]) for i in chosen]
