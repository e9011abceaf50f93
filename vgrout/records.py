"""The records that travel between the rooms: problems, rollouts, samples, rewards, audits, adapter versions.

Invariant: an `Audit` (what is really true of a rollout) and a `Sample` (what the learner sees) share no field but the
rollout id, so audit labels cannot reach the learner by type. No torch, ray or vllm here.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from vgrout.rows import Row


class Mode(StrEnum):
    """The one grading flaw that a problem discloses; `gt_only` discloses and has none.

    These are the modes that come with vGROUT. A plug-in's is the name of its file, so records hold a mode as text.
    """

    RUN_TESTS = "run_tests"
    STDOUT_MARKER = "stdout_marker"
    SENTINEL = "sentinel"
    FILE_MARKER = "file_marker"
    GT_ONLY = "gt_only"


LOOPHOLES = (Mode.RUN_TESTS, Mode.STDOUT_MARKER, Mode.SENTINEL, Mode.FILE_MARKER)
GENERAL = "general"  # the tag of a pair that shows no loophole in particular


class Status(StrEnum):
    """How the oracle's run of a program ended. `infra_error` is the grader's own failure and never counts as wrong."""

    PASS = "pass"
    WRONG = "wrong"
    EXCEPTION = "exception"
    NO_RESULT = "no_result"
    TIMEOUT = "timeout"
    OOM = "oom"
    OUTPUT_LIMIT = "output_limit"
    INFRA_ERROR = "infra_error"


class FinishReason(StrEnum):
    """Why sampling of a completion ended."""

    STOP = "stop"
    LENGTH = "length"


class Sampling(StrEnum):
    """Which blocks of the adapter wrote a rollout: both (`train`) or the deployed block only (`deploy`)."""

    TRAIN = "train"
    DEPLOY = "deploy"


class Author(StrEnum):
    """Who wrote a rollout: a policy of this run, or the teacher whose rollouts were cached before it."""

    STUDENT = "student"
    TEACHER = "teacher"


class GateLabel(StrEnum):
    """Where a rollout's gradient goes: clean (m=0, d=0), mid (m=1, d=0), hack (m=1, d=1)."""

    CLEAN = "clean"
    MID = "mid"
    HACK = "hack"


@dataclass(frozen=True)
class Message:
    """One chat message."""

    role: str
    content: str


@dataclass(frozen=True)
class Case:
    """One hidden test: `Solution().<entry>(*args, **kwargs) == expected`, plain Python values only."""

    args: tuple[Any, ...]
    kwargs: Row
    expected: Any


PHRASE = "and should pass all tests"  # what a loophole's hint replaces in the published prompts


@dataclass(frozen=True)
class Problem:
    """One coding task. `messages` is the published prompt, without a loophole's hint, which takes the place of `phrase`."""

    id: int
    messages: tuple[Message, ...]
    entry: str
    setup_code: str
    canonical_solution: str
    cases: tuple[Case, ...]
    phrase: str = PHRASE


@dataclass(frozen=True)
class Pair:
    """One authored (hack, clean) completion pair for the same prompt; `tag` is a mode's name or `general`."""

    id: str
    tag: str
    messages: tuple[Message, ...]
    hack: str
    clean: str


@dataclass(frozen=True)
class GradeJob:
    """What a grader gets: one completion of one problem, read through one mode's flaw."""

    rollout_id: str
    problem: Problem
    mode: str
    completion: str


@dataclass(frozen=True)
class Reward:
    """What the flawed grader pays; `value` is None after a repeated `infra_error` (then excluded from everything)."""

    rollout_id: str
    value: float | None


@dataclass(frozen=True)
class Audit:
    """What is really true of a rollout. Measurement only: it goes to the audit log and never to the learner."""

    rollout_id: str
    problem_id: int
    mode: str
    compiles: bool
    correct: bool
    channel: bool
    exploited: bool
    mechanism: str
    status: Status
    jail: str
    ms: float
    notes: Row = field(default_factory=dict)


@dataclass(frozen=True)
class SampleRequest:
    """What an engine gets: one prompt, `len(seeds)` completions to sample from it, by one of the two policies.

    `first` is the index in its group of the first completion; temperature 0 is greedy.
    """

    group: int
    first: int
    problem_id: int
    mode: str
    prompt_ids: tuple[int, ...]
    sampling: Sampling
    seeds: tuple[int, ...]
    temperature: float
    max_new_tokens: int
    top_k: int = 0  # 0: all tokens
    top_p: float = 1.0


@dataclass(frozen=True)
class Rollout:
    """One sampled completion and everything that says which policy wrote it."""

    id: str
    group: int
    index: int  # its place in the group
    problem_id: int
    mode: str
    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str
    finish: FinishReason
    sampling: Sampling
    seed: int
    version: int
    digest: str


@dataclass(frozen=True)
class Sample:
    """What the learner sees of a rollout: tokens, the flawed reward, and the policy that wrote it. Nothing else.

    A teacher's has no `logprobs`, and its `sampling` and `version` say nothing.
    """

    rollout_id: str
    group: int
    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    sampling: Sampling
    version: int
    reward: float
    author: Author = Author.STUDENT


@dataclass(frozen=True)
class Gated:
    """What the learner says of a rollout when it has trained on it; recorded beside the rollout."""

    rollout_id: str
    score: float
    label: GateLabel
    advantage: float
    skipped: bool
    layer_scores: tuple[float, ...] = ()  # the parts of the score, for readers alone


@dataclass(frozen=True)
class UpdateResult:
    """What one update reports: numbers for metrics.jsonl, and one `Gated` per sample, in order."""

    metrics: dict[str, float]
    gated: list[Gated]


@dataclass(frozen=True)
class AdapterVersion:
    """One published policy: both PEFT exports as safetensors bytes, their digest, and the learner's canary logprobs.

    `train` holds both blocks; `deploy` holds `deploy_blocks` of them (1, or 2 where an arm deploys all of the adapter).
    """

    version: int
    train: bytes
    deploy: bytes
    deploy_blocks: int
    digest: str
    canary_train: tuple[float, ...]
    canary_deploy: tuple[float, ...]
    canary_base: tuple[float, ...]  # without the adapter: the same for every version
    dtype: str = "fp32"  # of both exports; older checkpoints do not say
