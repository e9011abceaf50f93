"""What a group consists of: its problem, its hint or none, its sampled rollouts, and the cached teacher rollouts in it.

Invariants: all of it is a pure function of (seed, ordinal), so a replayed or resumed run has the same groups; a teacher's
rollout is marked wherever it is recorded, is never graded, and is in no rate of the student. Before update `teacher.until`
every prompt is one that the teacher covers, so that each has its demonstrations; a group's nominal update is its
ordinal // prompts, whichever update takes it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from actors.rollouts.dataset import Dataset
from learner.tokenizer import encode_completion
from vgrout.config import Config
from vgrout.problem_order import problem_at
from vgrout.records import Author, Mode, Sample, Sampling
from vgrout.rows import Row
from vgrout.seeds import rng
from vgrout.teacher_file import Demonstration


@dataclass(frozen=True)
class TeacherRollout:
    """One teacher rollout in its group."""

    id: str
    group: int
    problem_id: int
    mode: str
    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    text: str
    reward: float
    cached: str  # file and line that it comes from

    def sample(self) -> Sample:
        """The learner's view: no log-probabilities (see learner/fixed_terms.py for its weight)."""
        return Sample(
            rollout_id=self.id,
            group=self.group,
            prompt_ids=self.prompt_ids,
            completion_ids=self.completion_ids,
            logprobs=(),
            sampling=Sampling.TRAIN,
            version=-1,
            reward=self.reward,
            author=Author.TEACHER,
        )

    def row(self) -> Row:
        """Its fields in rollouts.jsonl: a student's keys, empty where no policy of this run wrote it."""
        nobody = dict.fromkeys(("finish", "sampling", "seed", "version", "digest"))
        return {**vars(self), "logprobs": [], **nobody, "author": Author.TEACHER}


def shown(config: Config, dataset: Dataset, ordinal: int) -> tuple[int, str]:
    """(problem id, mode that its prompt discloses and its grader has) of a group."""
    update = ordinal // config.rollout.prompts
    ids = dataset.teacher_covered_ids if update < config.teacher.until else dataset.train_ids
    problem_id = problem_at(ids, ordinal, config.seed)
    hint_free = rng(config.seed, "hint_free", update, problem_id).random() < config.rollout.hint_free_share
    return problem_id, Mode.GT_ONLY if hint_free else dataset.modes[problem_id]


def demonstrations(config: Config, dataset: Dataset, ordinal: int) -> list[Demonstration]:
    """A group's demonstrations: `per_prompt` of them, or fewer if its problem has fewer for the mode that is shown."""
    if ordinal // config.rollout.prompts >= config.teacher.until:
        return []
    problem_id, mode = shown(config, dataset, ordinal)
    rows = [d for d in dataset.demonstrations[problem_id] if d.fits(mode, dataset.modes[problem_id])]
    return rng(config.seed, "teacher", ordinal).sample(rows, min(config.teacher.per_prompt, len(rows)))


def teacher_rollouts(config: Config, dataset: Dataset, ordinals: Iterable[int]) -> list[TeacherRollout]:
    """The teacher's rollouts of groups; in each group they come after its students."""
    rollouts = []
    for ordinal in ordinals:
        rows = demonstrations(config, dataset, ordinal)
        problem_id, mode = shown(config, dataset, ordinal)
        for index, one in enumerate(rows, config.rollout.samples - len(rows)):
            rollouts.append(
                TeacherRollout(
                    id=f"{ordinal}-{index}",
                    group=ordinal,
                    problem_id=problem_id,
                    mode=mode,
                    prompt_ids=dataset.prompt(problem_id, mode),
                    completion_ids=encode_completion(dataset.tokenizer, one.completion),
                    text=one.completion,
                    reward=one.reward,
                    cached=one.where,
                )
            )
    return rollouts
