"""What one update reports: its numbers for metrics.jsonl, and what the gate said of every rollout.

Invariant: nothing here changes the learner; every number follows from the arguments.
Shapes: G rollouts of a batch.
"""

from torch import Tensor

from learner.objective import Advantages
from learner.optimizer import Step
from learner.policy_gradient import ObjectiveSums
from learner.router import Refresh, Scores
from vgrout.records import Gated, GateLabel, Sample, UpdateResult


def nothing_graded(lr: float) -> UpdateResult:
    """The result of an update whose batch held no graded rollout: nothing was scored and nothing moved."""
    return UpdateResult({"lr": lr, "grad_norm/total": 0.0, "ungraded_update": 1, "skipped_update": 0}, [])


def report(
    samples: list[Sample],
    scores: Scores,
    labels: list[GateLabel],
    gained: Advantages,
    policy: dict[str, float],
    sums: ObjectiveSums,
    step: Step,
    skipped: bool,
    refresh: Refresh | None,
) -> UpdateResult:
    """The result of one update. `policy`: of FixedTerms.

    `sums` and `step` are of its last epoch, `skipped` is of any; `refresh` is None for a pinned gate.
    """
    metrics = {
        "lr": step.lr,
        "ungraded_update": 0,
        "skipped_update": int(skipped),
        "loss": sums.loss,
        "grad_norm/total": step.grad_norm,
        "grad_norm/deployed": step.deployed,
        "grad_norm/quarantine": step.quarantine,
        "clip_fraction": sums.clipped / sum(len(s.completion_ids) for s in samples),
        "reward/zero_std_share": gained.skipped_G.float().mean().item(),
        "grad_norm/quarantine_share": step.quarantine_share,
        **policy,
        **gate_metrics(scores.score_G, labels, refresh),
    }
    gated = [
        Gated(
            rollout_id=s.rollout_id,
            score=scores.score_G[i].item(),
            label=labels[i],
            advantage=gained.advantage_G[i].item(),
            skipped=bool(gained.skipped_G[i]),
            layer_scores=scores.layers[i],
        )
        for i, s in enumerate(samples)
    ]
    return UpdateResult(metrics, gated)


def gate_metrics(score_G: Tensor, labels: list[GateLabel], refresh: Refresh | None) -> dict[str, float]:
    """Share of every label; with a gate that scores, also the scores' spread, the band and the turn of v_grad."""
    by_label = {f"gate/share_{name}": labels.count(name) / len(labels) for name in GateLabel}
    if refresh is None:
        return by_label
    return {
        **by_label,
        "gate/score_mean": score_G.mean().item(),
        "gate/score_std": score_G.std().item() if len(labels) > 1 else 0.0,
        "gate/band_lower": refresh.band.lower,
        "gate/band_upper": refresh.band.upper,
        "gate/band_width": refresh.band.width,
        "gate/band_separation": refresh.separation,
        "gate/v_overlap": refresh.overlap,
    }
