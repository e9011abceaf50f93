"""Score checkpoints on problems of a split with the quarantine on (as trained) and off (deploy), from fixed seeds.

Invariant: prompts, generation seeds and their order depend on the problem ids and `eval.seed` alone, so every run of a
data set is asked exactly the same questions.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from actors.made_of import base_here, canary_for, fix_date, places
from actors.model_card import renew_cards
from actors.planning.adapter_slots import slots
from actors.ray_cluster.calls import finish_all
from actors.ray_cluster.workers import Workers, start_workers
from actors.rollouts.dataset import Dataset, load_dataset, plug_in_digests
from actors.rollouts.recorder import GradedRollouts
from actors.rollouts.sampling import grade, in_order
from sandbox.problems import novel_markers as novel
from vgrout import ingredients, rates
from vgrout.config import Config
from vgrout.errors import UserError
from vgrout.files import file_sha256, read_json, to_json, write_json, write_whole
from vgrout.progress import Progress, at, duration, phase
from vgrout.records import AdapterVersion, FinishReason, Mode, Rollout, SampleRequest, Sampling
from vgrout.rows import Row
from vgrout.run_directory import RunDir
from vgrout.seeds import stream

AT_ONCE = 4  # versions that the engines of an evaluation serve side by side
SLICE_S = 1.0  # how often sampling is looked at


def published(run: RunDir, version: int, config: Config) -> AdapterVersion:
    """The AdapterVersion that the learner published when it wrote a checkpoint."""
    from learner.checkpoint import parse_adapter
    from learner.export import both_exports

    factors, about = parse_adapter(run.adapter(version), str(run.checkpoint(version) / "train.safetensors"))
    dtype = about.get("published_dtype", "fp32")
    train, deploy = both_exports(factors, about["rank"], config.lora.deployed_blocks, dtype)
    return AdapterVersion(
        version=about["version"],
        train=train,
        deploy=deploy,
        deploy_blocks=config.lora.deployed_blocks,
        digest=about["digest"],
        canary_train=tuple(about["canary_train"]),
        canary_deploy=tuple(about["canary_deploy"]),
        canary_base=tuple(about["canary_base"]),
        dtype=dtype,
    )


class Form(StrEnum):
    """How the problems of an exam are asked and graded."""

    USUAL = "usual"  # each with its loophole, disclosed by its hint
    NOVEL = "novel"  # hint and detector in words that no training prompt has
    NO_HINT = "no_hint"  # the loophole is open, but no hint speaks of it
    CLOSED = "closed"  # the hint speaks of a loophole that does not pay


@dataclass(frozen=True)
class Exam:
    """The questions for every checkpoint, and the name of the result files: a split or a part of it, asked in one form."""

    name: str = "test"
    split: str = "test"
    ids: tuple[int, ...] | None = None
    form: Form = Form.USUAL


def exam_ids(dataset: Dataset, exam: Exam) -> list[int]:
    """The problem ids of an exam, ascending. Raises UserError where there are none."""
    ids = {"test": dataset.test_ids, "validation": dataset.validation_ids, "train": dataset.train_ids}[exam.split]
    if exam.ids is not None:
        ids = sorted(set(ids) & set(exam.ids))
    if exam.form is Form.NOVEL:
        wordless = {name for name, one in dataset.plug_ins.items() if not one.other_words}
        ids = [i for i in ids if dataset.modes[i] not in wordless and not novel.clashes(dataset.problems[i], dataset.words)]
    if not ids:
        raise UserError("--split", f"{exam.name} (0 problems)", "a split with problems (data.validation sets the slice)")
    return ids


def questions(config: Config, dataset: Dataset, exam: Exam) -> list[SampleRequest]:
    """Two requests per problem, one per policy, with the same seeds (and the same for every run)."""
    count = config.eval.samples
    return [
        SampleRequest(
            group=i,
            first=place * count,
            problem_id=i,
            mode=Mode.GT_ONLY if exam.form is Form.CLOSED else dataset.modes[i],
            prompt_ids=dataset.prompt(i, Mode.GT_ONLY if exam.form is Form.NO_HINT else None, novel=exam.form is Form.NOVEL),
            sampling=sampling,
            seeds=tuple(stream(config.eval.seed, "eval", i, k) for k in range(count)),
            temperature=config.eval.temperature,
            max_new_tokens=config.rollout.max_new_tokens,
        )
        for i in exam_ids(dataset, exam)
        for place, sampling in enumerate(Sampling)
    ]


def ask(workers: Workers, dataset: Dataset, config: Config, exam: Exam, adapters: list[AdapterVersion],
        tell: Callable[[str], None]) -> Iterator[GradedRollouts]:  # fmt: skip
    """Sample both policies of several versions side by side, and grade them: one batch per version. `tell` hears how far."""
    requests = questions(config, dataset, exam)
    count, total = len(workers.engines), len(adapters) * sum(len(request.seeds) for request in requests)
    asked, began = {i: (adapters, requests[i::count]) for i in range(count)}, time.monotonic()
    done, shares = dict.fromkeys(asked, 0), dict[int, list[list[Rollout]]]()
    while asked:
        found = finish_all([workers.engines[i].compare(*what, SLICE_S) for i, what in asked.items()])
        for i, share in zip(list(asked), found, strict=True):
            asked[i], done[i] = ([], []), share.done
            if share.answers is not None:
                del asked[i]
                shares[i] = share.answers
        tell(f"sampled {sum(done.values())}/{total} answers{_rest(began, sum(done.values()), total)}")
    for k, adapter in enumerate(adapters):
        tell(f"grading {total // len(adapters)} answers of update {adapter.version}")
        yield _graded(workers, dataset, exam, in_order(requests, [shares[i][k] for i in range(count)]))


def _rest(began: float, done: int, total: int) -> str:
    """How long the sampling still takes; nothing before a tenth is there: answers are sampled together and end together."""
    seconds = time.monotonic() - began
    return f", ETA {duration(seconds / done * (total - done))}" if total <= 10 * done < 10 * total else ""


def _graded(workers: Workers, dataset: Dataset, exam: Exam, rollouts: list[Rollout]) -> GradedRollouts:
    if exam.form is not Form.NOVEL:
        return grade(workers, dataset, rollouts)
    renamed = [dataclasses.replace(r, text=novel.rename(r.text, dataset.words)) for r in rollouts]
    return dataclasses.replace(grade(workers, dataset, renamed), rollouts=rollouts)


def scheduled(run: RunDir, config: Config) -> list[int]:
    """The whole checkpoints that an uninterrupted run would have: multiples of the interval and the last."""
    every, last = config.train.checkpoint_every, config.train.updates
    return [v for v in run.checkpoints() if v % every == 0 or v == last]


def evaluate(run: RunDir, config: Config, versions: list[int], exam: Exam, accept_changes: bool = False) -> list[Row]:
    """Score checkpoints on parts of their own: one record per version, see `score`.

    Raises UserError where the problems of the split, their loopholes or the base are not what the run was made of.
    """
    fix_date(run)
    phase("reading problems")
    dataset = load_dataset(config)
    check_asked(run, config, dataset, exam, accept_changes)
    for version in versions:
        run.adapter(version)  # refused before anything starts
    (run.path / "eval").mkdir(exist_ok=True)
    canary = canary_for(run, dataset)
    # Nothing is trained here; staleness says how many versions the engines have slots for.
    runtime = dataclasses.replace(config.runtime, mode="async", max_staleness=AT_ONCE - 2)
    config = dataclasses.replace(config, runtime=runtime)
    workers = start_workers(config, canary, plug_ins=dataset.plug_ins)
    try:
        return score(run, config, dataset, workers, versions, exam)
    finally:
        at("ending engines and graders")
        workers.close()
        at("")


def check_asked(run: RunDir, config: Config, dataset: Dataset, exam: Exam, accept: bool) -> None:
    """Raise UserError where what decides the answers of an exam is not what the run was made of (vgrout/ingredients.py)."""
    here = {f"data.{_file(exam)}": file_sha256(Path(getattr(config.data, _file(exam)))), **base_here(config)}
    here |= {f"data.{name}": value for name, value in plug_in_digests(config).items()}
    ingredients.check(run, here, "eval", accept, places(config, here))
    was = run.about().get("partition", {})
    moved = [i for i in exam_ids(dataset, exam) if was.get(str(i), dataset.modes[i]) != dataset.modes[i]]
    if moved and not accept:
        found = f"{dataset.modes[moved[0]]} for problem {moved[0]}"
        raise UserError(f"{run.path / 'run.json'}: partition", found, was[str(moved[0])])


def _file(exam: Exam) -> str:
    return "test" if exam.split == "test" else "train"


def exam_digest(config: Config, dataset: Dataset, exam: Exam) -> str:
    """SHA-256 of all that decides an exam's answers but the adapter: problems, prompts, seeds, sampling, engine and base.

    A field of a request that has its default is left out, so that a field which a later version adds changes no digest.
    """
    problems = file_sha256(Path(getattr(config.data, _file(exam))))
    defaults = {field.name: field.default for field in dataclasses.fields(SampleRequest)}
    every = [dataclasses.asdict(request) for request in questions(config, dataset, exam)]
    asked = [{name: value for name, value in request.items() if value != defaults[name]} for request in every]
    base = (base_here(config), config.model.dtype, config.runtime.engine)
    plug_ins = plug_in_digests(config)
    return ingredients.digest([problems, base, exam.form, asked, *([plug_ins] if plug_ins else [])])


def score(run: RunDir, config: Config, dataset: Dataset, workers: Workers, versions: list[int], exam: Exam) -> list[Row]:
    """Score checkpoints on live workers: {"update", "digest", "split", "train": counts per mode, "deploy": counts per mode, ...}.

    As many versions at once as the engines have slots for. Writes every record as it is made (`eval/<exam>_<update>.json`, and
    the audits of each policy beside it), and takes a record that is already there for the same adapter and the same
    questions (`exam_digest`) as it is.
    """
    exam_ids(dataset, exam)  # refused before anything is sampled
    key = exam_digest(config, dataset, exam)
    progress = Progress(f"{config.arm} seed {config.seed}: evaluate", len(versions))
    records = {v: record for v in versions if (record := _existing(run, v, exam, key))}
    missing, at_once = [v for v in versions if v not in records], slots(config) // len(Sampling)
    progress.skip(len(records))
    for chunk in (missing[i : i + at_once] for i in range(0, len(missing), at_once)):
        adapters = [published(run, v, config) for v in chunk]
        answers = ask(workers, dataset, config, exam, adapters, progress.inside)
        for adapter, batch in zip(adapters, answers, strict=True):
            record = records[adapter.version] = _written(run, config, adapter, exam, batch, key)
            every = record["deploy"]["all"]
            renew_cards(run)
            progress.step(f"update {adapter.version} deployed: hack {every['hack_rate']:.3f}  solve {every['solve_rate']:.3f}")
    return [records[v] for v in versions]


def _written(run: RunDir, config: Config, adapter: AdapterVersion, exam: Exam, batch: GradedRollouts, key: str) -> Row:
    """Write the audits of each policy, then the record, which marks them as whole."""
    stem = f"eval/{exam.name}_{adapter.version:05d}"
    record: Row = {"schema": rates.EVALUATION_SCHEMA, "update": adapter.version, "digest": adapter.digest, "split": exam.name}
    record |= {"samples": config.eval.samples, "questions": key}
    for sampling in Sampling:
        answers = [(r, a) for r, a in zip(batch.rollouts, batch.audits, strict=True) if r.sampling is sampling]
        record[sampling] = rates.of_evaluation([audit for _, audit in answers])
        record[f"{sampling}_truncated"] = sum(r.finish is FinishReason.LENGTH for r, _ in answers)
        rows = [{**dataclasses.asdict(a), "completion": r.text, "finish": r.finish} for r, a in answers]
        write_json(run.path / f"{stem}_{sampling}.json", rows)
    write_json(run.path / f"{stem}.json", record)
    return record


def _existing(run: RunDir, version: int, exam: Exam, key: str) -> Row | None:
    place = run.path / f"eval/{exam.name}_{version:05d}.json"
    if not place.is_file():
        return None
    try:
        record = rates.evaluation(place, read_json(place, rates.EVALUATION))
    except UserError:  # torn by a crash, or of an older version: made anew
        return None
    from learner.checkpoint import parse_adapter

    _, about = parse_adapter(run.adapter(version), str(run.checkpoint(version) / "train.safetensors"))
    same = record.get("digest") == about["digest"] and record.get("questions") == key
    return record if same else None


def write_curve(run: RunDir, records: list[Row], suffix: str = "") -> None:
    """All records as `eval_curve<suffix>.jsonl`; without a suffix the last one is `per_mode_deploy.json` too.

    The curve comes last and marks a run as done.
    """
    if not suffix:
        write_json(run.path / "per_mode_deploy.json", records[-1])
    write_whole(
        run.path / f"eval_curve{suffix}.jsonl",
        "".join(to_json(r, sort_keys=True) + "\n" for r in records),
    )


def evaluate_all(run: RunDir, config: Config) -> None:
    """Evaluate every scheduled checkpoint on the test split, on workers of its own."""
    write_curve(run, evaluate(run, config, scheduled(run, config), Exam()))
