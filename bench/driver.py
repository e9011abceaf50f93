"""What the driver itself spends on a group: the journal's record, the log's rows and the learner's samples. No Ray, no disk sync.

    python -m bench.driver --out out/bench [--rounds 5] [--short]

Rounds alternate over the sizes; the table and the file hold median and range in CPU milliseconds per group.
"""

import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

from actors.journal.journal import Graded, Journal
from actors.rollouts.recorder import Recorder
from actors.rollouts.sampling import join
from bench.measure import Series, run_part
from vgrout.group_records import Key
from vgrout.records import Audit, FinishReason, Gated, GateLabel, Mode, Reward, Rollout, Sampling, Status
from vgrout.run_directory import RunDir

SIZES = ((8, 100), (16, 1000))  # rollouts of a group, tokens of a completion
GROUPS = 12


def group(ordinal: int, samples: int, tokens: int) -> Graded:
    """A group as engines and graders return it."""
    rollouts = [
        Rollout(
            id=f"{ordinal}-{i}", group=ordinal, index=i, problem_id=ordinal, mode=Mode.SENTINEL, prompt_ids=tuple(range(60)),
            completion_ids=tuple(range(1000, 1000 + tokens)), logprobs=tuple(-0.001 * t for t in range(tokens)),
            text="    x = 1\n" * (tokens // 6), finish=FinishReason.STOP, sampling=Sampling.TRAIN, seed=2**40 + i, version=3,
            digest="0" * 64,
        )
        for i in range(samples)
    ]  # fmt: skip
    audits = [
        Audit(r.id, r.problem_id, r.mode, True, False, True, True, "sentinel", Status.WRONG, "strict", 3.0) for r in rollouts
    ]
    return Graded(Key(ordinal, 0), rollouts, [Reward(r.id, 1.0) for r in rollouts], audits)


def cpu_ms_per_group(folder: Path, samples: int, tokens: int) -> float:
    """Milliseconds per group of one update's bookkeeping."""
    groups = [group(ordinal, samples, tokens) for ordinal in range(GROUPS)]
    gated = [Gated(r.id, 0.1, GateLabel.CLEAN, 0.5, False) for g in groups for r in g.rollouts]
    rollout = SimpleNamespace(prompts=GROUPS, hint_free_share=0.0, samples=samples)
    runtime = SimpleNamespace(mismatch_limit=1.0)
    config = SimpleNamespace(seed=0, teacher=SimpleNamespace(until=0), rollout=rollout, runtime=runtime)
    modes = dict.fromkeys(range(320), Mode.SENTINEL)
    dataset = SimpleNamespace(modes=modes, train_ids=list(modes), tokenizer=SimpleNamespace(decode=lambda ids, **_: str(ids)))
    recorder = Recorder(config, dataset, RunDir(folder))  # type: ignore[arg-type]
    journal = Journal(folder / "journal.bin")

    def bookkeeping(update: int) -> None:
        for one in groups:
            journal.group(one)
        batch = join(groups)
        batch.samples()
        recorder.update(update, batch, SimpleNamespace(metrics={}, gated=gated), {})

    bookkeeping(2)  # makes the files, which a run does once
    began = time.process_time()
    bookkeeping(3)
    seconds = time.process_time() - began
    journal.close()
    return 1000 * seconds / GROUPS


def measure(rounds: int, short: bool) -> list[Series]:
    """CPU milliseconds per group, the sizes by turns."""
    found: dict[str, list[float]] = {f"{s} x {t} tokens": [] for s, t in SIZES}
    for _ in range(rounds):
        for samples, tokens in SIZES[:1] if short else SIZES:
            with tempfile.TemporaryDirectory() as folder:
                found[f"{samples} x {tokens} tokens"].append(cpu_ms_per_group(Path(folder), samples, tokens))
    return [Series("driver", name, "CPU ms per group", tuple(values)) for name, values in found.items() if values]


if __name__ == "__main__":
    run_part("driver", measure, __doc__)
