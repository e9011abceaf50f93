"""The rank of the plain LoRA that holds one or both blocks of the adapter.

Invariant: every place that needs this number asks here, so engines, exports and the plan agree.
"""

BLOCKS = 2  # deployed and quarantine


def export_rank(rank: int, blocks: int = BLOCKS) -> int:
    """Rank of the PEFT LoRA of `blocks` blocks of rank `rank`: each exports as `[B-B0 | B0] [A ; A-A0]`, of rank 2r."""
    return 2 * rank * blocks
