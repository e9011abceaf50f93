"""What a grader actor runs. Invariant: importing it brings in neither torch nor ray."""

from sandbox.grading.grader import Grader
from sandbox.grading.loopholes import Parity
from vgrout.config_runtime import RuntimeConfig
from vgrout.records import Audit, GradeJob, Reward


class GraderWorker:
    """A sandbox Grader that takes a list of jobs."""

    def __init__(self, runtime: RuntimeConfig) -> None:
        self.grader = Grader(runtime.jail, runtime.grade_deadline_s, Parity(runtime.parity), runtime.packages)

    def grade(self, jobs: list[GradeJob]) -> list[tuple[Reward, Audit]]:
        """Grade jobs in order."""
        return [self.grader.grade(job) for job in jobs]

    def close(self) -> None:
        """End the jail's processes."""
        self.grader.close()
