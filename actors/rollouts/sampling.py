"""Makes sample requests of groups and grading jobs of rollouts, in an order that does not depend on engines or graders."""

from actors.engines.protocol import Group
from actors.journal.journal import Graded
from actors.ray_cluster.calls import finish_all
from actors.ray_cluster.workers import Workers
from actors.rollouts.dataset import Dataset
from actors.rollouts.groups import demonstrations, shown
from actors.rollouts.recorder import GradedRollouts
from vgrout.config import Config
from vgrout.group_records import Key
from vgrout.records import GradeJob, Rollout, SampleRequest, Sampling
from vgrout.seeds import stream


def requests_for(config: Config, dataset: Dataset, ordinals: range) -> list[SampleRequest]:
    """Sample requests of the students of groups; the last `deploy_fraction` of them is written by the deployed block,
    and in the last `heal_updates` (by nominal update) all."""
    r, requests = config.rollout, []
    for ordinal in ordinals:
        problem_id, mode = shown(config, dataset, ordinal)
        students = r.samples - len(demonstrations(config, dataset, ordinal))
        healing = ordinal // r.prompts >= config.train.updates - r.heal_updates
        deploy = students if healing else round(students * r.deploy_fraction)
        seeds = tuple(stream(config.seed, "sample", ordinal, i) for i in range(students))
        for sampling, first, stop in ((Sampling.TRAIN, 0, students - deploy), (Sampling.DEPLOY, students - deploy, students)):
            if first < stop:
                requests.append(
                    SampleRequest(
                        group=ordinal,
                        first=first,
                        problem_id=problem_id,
                        mode=mode,
                        prompt_ids=dataset.prompt(problem_id, mode, extra=r.sampled_with),
                        sampling=sampling,
                        seeds=seeds[first:stop],
                        temperature=r.temperature,
                        top_k=r.top_k,
                        top_p=r.top_p,
                        max_new_tokens=r.max_new_tokens,
                    )
                )
    return requests


def group_of(config: Config, dataset: Dataset, key: Key) -> Group:
    """One attempt at a group, as an engine takes it."""
    return Group(key, tuple(requests_for(config, dataset, range(key.ordinal, key.ordinal + 1))))


def in_order(requests: list[SampleRequest], shares: list[list[Rollout]]) -> list[Rollout]:
    """The engines' rollouts in request order."""
    place = {(r.group, r.first + i): n for n, r in enumerate(requests) for i in range(len(r.seeds))}
    rollouts = [rollout for share in shares for rollout in share]
    return sorted(rollouts, key=lambda r: (place[r.group, r.index], r.index))


def grade(workers: Workers, dataset: Dataset, rollouts: list[Rollout]) -> GradedRollouts:
    """Grade rollouts on all graders, in order."""
    jobs, count = grade_jobs(dataset, rollouts), len(workers.graders)
    pending = [grader.grade(jobs[i::count]) for i, grader in enumerate(workers.graders)]
    shares = finish_all(pending)
    verdicts = [shares[i % count][i // count] for i in range(len(jobs))]
    return GradedRollouts(rollouts, [reward for reward, _ in verdicts], [audit for _, audit in verdicts])


def grade_jobs(dataset: Dataset, rollouts: list[Rollout]) -> list[GradeJob]:
    """What a grader needs of rollouts."""
    return [GradeJob(r.id, dataset.problems[r.problem_id], r.mode, r.text) for r in rollouts]


def join(groups: list[Graded]) -> GradedRollouts:
    """Groups as one batch, in their order."""
    rewards, audits = [p for g in groups for p in g.rewards], [a for g in groups for a in g.audits]
    return GradedRollouts([r for g in groups for r in g.rollouts], rewards, audits)
