"""What a grader actor runs. Invariant: importing it brings in neither torch nor ray."""

from collections.abc import Mapping

from sandbox.grading.grader import Grader
from sandbox.loopholes.loophole import Parity
from sandbox.loopholes.plug_in import load
from vgrout.config_runtime import RuntimeConfig
from vgrout.records import Audit, GradeJob, Reward


class GraderWorker:
    """A sandbox Grader that takes a list of jobs."""

    def __init__(self, runtime: RuntimeConfig, plug_ins: Mapping[str, str] | None = None) -> None:
        """`plug_ins`: the texts of plug-in loopholes by the paths of their files, which need not be on this machine."""
        loopholes = [load(place, text) for place, text in (plug_ins or {}).items()]
        self.grader = Grader(runtime.jail, runtime.grade_deadline_s, Parity(runtime.parity), runtime.packages, loopholes)

    def grade(self, jobs: list[GradeJob]) -> list[tuple[Reward, Audit]]:
        """Grade jobs in order."""
        return [self.grader.grade(job) for job in jobs]

    def close(self) -> None:
        """End the jail's processes."""
        self.grader.close()
