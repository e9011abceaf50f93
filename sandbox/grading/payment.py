"""Whether a problem's loophole pays for a program, and what it asks of the child for that.

Invariant: a problem pays by the loophole of its own mode only. A loophole is looked for in the oracle's own run (its stdout,
a fresh Solution, its result file) or, as `run_tests`, in runs of its own. A run that did not end by itself pays nothing. A
program that forges its own mode's fact (the token is in its memory) gets what that mode's plain hack gets anyway.
"""

from dataclasses import dataclass, replace

from sandbox.grading.oracle import Facts, Judge, compiles
from sandbox.jail.program import Program, Task
from sandbox.jail.runner import InfraError, Runner
from sandbox.jail.supervision import MAX_GRACE, Ended
from sandbox.loopholes.loophole import Again, Loophole, Run
from vgrout.records import GradeJob

# In deadlines. A grading promises 1.5; LEAST is what the last run gets where a busy machine has used the others' up.
WHOLE, LEAST = 1.3, 0.05


@dataclass(frozen=True)
class Payment:
    """Whether a loophole pays, by which mechanism, and how long its own runs took."""

    paid: bool
    mechanism: str = ""
    ms: float = 0.0


def with_questions(program: Program, loophole: Loophole | None) -> Program:
    """The oracle's program with what the loophole asks of the child."""
    return replace(program, flags=loophole.flags, files=loophole.files) if loophole else program


def payment(
    loophole: Loophole | None, job: GradeJob, ended: Ended, judge: Judge, reported: bool, runner: Runner, program: Program
) -> Payment:
    """What the loophole pays for the oracle's run, or for runs of its own. Raises InfraError, also where a check itself fails."""
    if loophole is None or not compiles(ended) or not (ended.by_itself or loophole.own_runs):
        return Payment(False)
    took: list[float] = []

    def again(task: Task) -> Again:
        facts = Facts(program.token)
        deadline_s = what_is_left(runner.limits.deadline_s, ended.ms + sum(took))
        run = runner.run(replace(program, task=task, inputs=()), facts.read, deadline_s=deadline_s)
        took.append(run.ms)
        return Again(run.by_itself, facts.seen)

    stdout, result_file = ended.stdout.decode("utf-8", "replace"), ended.report.removeprefix("\n")
    seen = Run(job.problem, job.completion, stdout, result_file, judge.facts.get("flag", False), judge.passed, reported, again)
    try:
        mechanism = loophole.pays(seen)
    except InfraError:
        raise
    except Exception as error:  # a plug-in's own fault: neither the program's nor a wrong answer
        raise InfraError(f"{loophole.place}: pays raised {type(error).__name__}: {error}") from error
    return Payment(bool(mechanism), mechanism, sum(took))


def what_is_left(deadline_s: float, taken_ms: float) -> float:
    """The deadline of a further run of one grading: all runs together are over within WHOLE deadlines, grace and all."""
    left = (WHOLE * deadline_s - taken_ms / 1e3) / (1.0 + MAX_GRACE)
    return min(deadline_s, max(left, LEAST * deadline_s))
