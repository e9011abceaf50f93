"""Names of metrics.jsonl that older runs have, and what the same numbers are called now (docs/reference/metrics.md)."""

from vgrout.rows import Row

RENAMED = {
    "reward_mean": "reward/mean",
    "hack_rate": "rate/hack",
    "solve_rate": "rate/solve",
    "length_mean": "completions/mean_length",
    "truncated_share": "completions/truncated_share",
    "skipped_share": "reward/zero_std_share",
    "importance_capped": "importance/capped_share",
    "mismatch_kl": "mismatch/kl",
    "mismatch_max": "mismatch/max",
    "share_clean": "gate/share_clean",
    "share_mid": "gate/share_mid",
    "share_hack": "gate/share_hack",
    "score_mean": "gate/score_mean",
    "score_std": "gate/score_std",
    "band_lower": "gate/band_lower",
    "band_upper": "gate/band_upper",
    "band_width": "gate/band_width",
    "v_overlap": "gate/v_overlap",
    "grad_norm": "grad_norm/total",
    "quarantine_grad_share": "grad_norm/quarantine_share",
    "rollout_wait_s": "time/wait_rollouts",
    "backpressure_s": "time/backpressure",
    "generate_s": "time/generate",
    "grade_s": "time/grade",
    "update_s": "time/update",
    "publish_s": "time/publish",
    "queue_ready": "queue/ready",
    "queue_sampled": "queue/sampled",
    "queue_running": "queue/running",
}


def current(row: Row) -> Row:
    """A line of metrics.jsonl under the names of today."""
    return {RENAMED.get(name, name): value for name, value in row.items()}
