"""The tiny run that the kill tests share, and what its journal must satisfy."""

from collections import Counter
from pathlib import Path

from journals import scan

from vgrout.run_directory import RunDir

TINY = [
    "runtime.learner_threads=1", "runtime.graders=1", "runtime.kv_cache_mib=64", "rollout.prompts=2", "rollout.samples=4",
    "optim.warmup=1", "lora.rank=8", "rollout.max_new_tokens=48",
]  # fmt: skip


def arguments(out: Path, *sets: str) -> list[str]:
    """What follows `vgrout train` for a tiny run into `out`."""
    return ["configs/tiny.toml", "--arm", "routev", "--seed", "5", "--out", str(out), *(f"--set={s}" for s in (*TINY, *sets))]


def check_journal(run: Path, updates: int, prompts: int, holes: int = 0) -> tuple[dict[int, list], Counter]:
    """Batches by update and drops by reason, from the journal; checks that no group counts twice."""
    found = scan((run / "journal.bin").read_bytes())
    assert len(found.holes) == holes
    batches = {r["update"]: r["keys"] for r in found.records if r["kind"] == "batch"}
    final = [r["ordinal"] for r in found.records if r["kind"] == "drop" and r["final"]]
    consumed = [ordinal for keys in batches.values() for ordinal, _ in keys]
    assert sorted(batches) == list(range(updates)) and len(consumed) == len(set(consumed)) == updates * prompts
    assert not set(consumed) & set(final)
    graded = {r["key"][0] for r in found.records if r["kind"] == "group"}
    logged = {r["group"] for r in RunDir(run).read("rollouts.jsonl")}  # a resumed run has pruned the groups of earlier updates
    assert set(consumed) <= graded | logged and graded <= set(consumed) | set(final)
    return batches, Counter(r["reason"] for r in found.records if r["kind"] == "drop")
