"""What a run's model does with its quarantine only partly deleted: the test split, with the quarantine's contribution times s.

s = 0 is what is deployed, s = 1 the model as trained; between them one sees how sharply the two are told apart.
Invariant: the adapter of every scale is an ordinary one, checked by the canary like any published version; the questions are
those of every other evaluation of the run.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from actors.evaluation import AT_ONCE, Exam, check_asked, exam_digest, questions
from actors.made_of import canary_for, fix_date
from actors.planning.adapter_slots import slots
from actors.ray_cluster.calls import finish_all
from actors.ray_cluster.workers import start_workers
from actors.rollouts.dataset import load_dataset
from actors.rollouts.sampling import grade, in_order
from learner.learner import Learner
from learner.lora2r import Lora2r
from vgrout import rates
from vgrout.errors import UserError
from vgrout.files import write_json
from vgrout.records import AdapterVersion, Sampling
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


def write_sweep(run: RunDir, scales: Sequence[float] = SCALES, exam: Exam | None = None) -> Row:
    """Ask the test split at every scale; write and return the record. Raises UserError for a run without a quarantine."""
    config, exam = run.config(), exam or Exam()
    if config.lora.deploy == "both":
        raise UserError(f"{run.path / 'run.json'}: lora.deploy", "'both'", "an arm that deletes its quarantine")
    fix_date(run)
    dataset = load_dataset(config)
    check_asked(run, config, dataset, exam, accept=False)
    version = run.checkpoints()[-1]
    learner = Learner(config, dataset.pairs, canary=canary_for(run, dataset))
    learner.restore(*run.read_checkpoint(version))
    adapters = scaled(learner, scales)
    del learner
    config = replace(config, runtime=replace(config.runtime, mode="async", max_staleness=AT_ONCE - 2))
    asked = [request for request in questions(config, dataset, exam) if request.sampling is Sampling.TRAIN]
    record: Row = {"schema": 1, "update": version, "split": exam.name, "samples": config.eval.samples}
    record |= {"questions": exam_digest(config, dataset, exam), "scales": []}
    workers = start_workers(config, canary_for(run, dataset), plug_ins=dataset.plug_ins)
    try:
        count, at_once = len(workers.engines), max(1, slots(config) // len(Sampling))
        for first in range(0, len(adapters), at_once):
            some = adapters[first : first + at_once]
            whole = [engine.compare(some, asked[i::count], math.inf) for i, engine in enumerate(workers.engines)]
            shares = [one.answers for one in finish_all(whole) if one.answers is not None]
            for k in range(len(some)):
                batch = grade(workers, dataset, in_order(asked, [share[k] for share in shares]))
                record["scales"].append({"scale": scales[first + k], **rates.of_evaluation(batch.audits)})
    finally:
        workers.close()
    write_json(run.path / FILE, record)
    return record
