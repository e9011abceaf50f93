"""What a run's model does with its quarantine only partly deleted: the test split, with the quarantine's contribution times s.

s = 0 is what is deployed, s = 1 the model as trained; between them one sees how sharply the two are told apart.
Invariant: the adapter of every scale is an ordinary one, checked by the canary like any published version; the questions are
those of every other evaluation of the run.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import torch

from actors.engines.protocol import Canary
from actors.evaluation import AT_ONCE, Exam, check_asked, exam_digest, questions
from actors.made_of import canary_for, fix_date
from actors.planning.adapter_slots import slots
from actors.ray_cluster.calls import finish_all
from actors.ray_cluster.workers import Workers, start_workers
from actors.rollouts.dataset import Dataset, load_dataset
from actors.rollouts.sampling import grade, in_order
from learner.learner import Learner
from learner.lora2r import Lora2r
from vgrout import rates
from vgrout.config import Config
from vgrout.errors import UserError
from vgrout.files import write_json
from vgrout.records import AdapterVersion, SampleRequest, Sampling
from vgrout.rows import Row
from vgrout.run_directory import RunDir

FILE = "quarantine_sweep.json"
SCALES = (0.0, 0.25, 0.5, 1.0)


def scaled(learner: Learner, scales: Sequence[float]) -> list[AdapterVersion]:
    """The learner's version with its quarantine times each scale; `version` counts the scales. The learner is left as it was.

    The block's contribution is (B - B0) A + B0 (A - A0), so it scales with B and B0 together.
    """
    found = []
    for number, scale in enumerate(scales):
        with torch.no_grad():
            kept = _times(learner.lora, scale)
            found.append(replace(learner.publish(), version=number))
            for (tensor_OS, start), old in kept:
                tensor_OS[:, start:] = old
    return found


def _times(lora: Lora2r, scale: float) -> list[tuple[tuple[torch.Tensor, int], torch.Tensor]]:
    kept = []
    for module in lora.modules.values():
        for tensor_OS in (module.b_OS, module.b0_OS):
            kept.append(((tensor_OS, lora.rank), tensor_OS[:, lora.rank :].clone()))
            tensor_OS[:, lora.rank :] *= scale
    return kept


@dataclass(frozen=True)
class Asked:
    """What one run is asked."""

    run: RunDir
    config: Config
    dataset: Dataset
    canary: Canary
    requests: list[SampleRequest]
    exam: str  # its name
    digest: str  # of the exam

    @property
    def needs(self) -> tuple[object, ...]:
        """What engines and graders are made of; runs for which it is equal share them.

        A learner on a GPU has made its adapters before the engines take what is free there, so such a run shares with none.
        """
        config = self.config
        plug_ins = {one.place: one.text for one in self.dataset.plug_ins.values()}
        alone = self.run.path if config.runtime.learner_gpus else None
        return config.model, config.lora, config.rollout, config.runtime, self.canary, plug_ins, alone


def write_sweeps(runs: Sequence[RunDir], scales: Sequence[float] = SCALES, exam: Exam | None = None) -> Iterator[Row]:
    """Ask the test split of every run at every scale; write each run's record, and yield it.

    Engines and graders are started once for runs in a row that can share them. Raises UserError, before anything starts, for a
    run without a quarantine, or where the problems or the base are not what a run was made of.
    """
    every = [_asked(run, exam or Exam()) for run in runs]
    for _, row in groupby(every, lambda one: one.needs):
        workers: Workers | None = None
        try:
            for one in row:
                adapters = _adapters(one, scales)
                workers = workers or start_workers(one.config, one.canary, plug_ins=one.dataset.plug_ins)
                yield _written(one, workers, scales, adapters)
        finally:
            if workers is not None:
                workers.close()


def _asked(run: RunDir, exam: Exam) -> Asked:
    config = run.config()
    if config.lora.deploy == "both":
        raise UserError(f"{run.path / 'run.json'}: lora.deploy", "'both'", "an arm that deletes its quarantine")
    if not run.checkpoints():
        raise UserError(str(run.path / "checkpoints"), "no whole checkpoint", "at least one")
    run.adapter(run.checkpoints()[-1])  # a damaged one is refused here
    fix_date(run)
    dataset = load_dataset(config)
    check_asked(run, config, dataset, exam, accept=False)
    requests = [request for request in questions(config, dataset, exam) if request.sampling is Sampling.TRAIN]
    served = replace(config, runtime=replace(config.runtime, mode="async", max_staleness=AT_ONCE - 2))
    return Asked(run, served, dataset, canary_for(run, dataset), requests, exam.name, exam_digest(config, dataset, exam))


def _adapters(one: Asked, scales: Sequence[float]) -> list[AdapterVersion]:
    fix_date(one.run)
    learner = Learner(one.config, one.dataset.pairs, canary=one.canary)
    learner.restore(*one.run.read_checkpoint(one.run.checkpoints()[-1]))
    return scaled(learner, scales)


def _written(one: Asked, workers: Workers, scales: Sequence[float], adapters: list[AdapterVersion]) -> Row:
    record: Row = {"schema": 1, "update": one.run.checkpoints()[-1], "split": one.exam, "samples": one.config.eval.samples}
    record |= {"questions": one.digest, "scales": []}
    count, at_once = len(workers.engines), max(1, slots(one.config) // len(Sampling))
    for first in range(0, len(adapters), at_once):
        some = adapters[first : first + at_once]
        whole = [engine.compare(some, one.requests[i::count], math.inf) for i, engine in enumerate(workers.engines)]
        shares = [found.answers for found in finish_all(whole) if found.answers is not None]
        for k in range(len(some)):
            batch = grade(workers, one.dataset, in_order(one.requests, [share[k] for share in shares]))
            record["scales"].append({"scale": scales[first + k], **rates.of_evaluation(batch.audits)})
    write_json(one.run.path / FILE, record)
    return record
