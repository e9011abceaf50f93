"""The work of a simulated run: lengths of completions, and the seconds to grade them and to train on them.

Invariant: everything is a pure function of (scenario, seed, ordinal). All attempts at a group have the same lengths, since a
run samples it again from the same seeds.
"""

from actors.async_run.messages import LEARNER
from actors.simulation.scenario import Scenario
from vgrout.config import Config
from vgrout.group_records import Key
from vgrout.seeds import rng


class Work:
    """The work of one scenario."""

    def __init__(self, scenario: Scenario, config: Config) -> None:
        self.scenario, self.config = scenario, config
        self._lengths: dict[int, tuple[int, ...]] = {}

    def lengths(self, ordinal: int) -> tuple[int, ...]:
        """Completion tokens of a group's rollouts."""
        if ordinal not in self._lengths:
            about, most = self.scenario.lengths, self.config.rollout.max_new_tokens
            draw = rng(self.scenario.seed, "length", ordinal)
            drawn = (about.median * draw.lognormvariate(0.0, about.sigma) for _ in range(self.config.rollout.samples))
            self._lengths[ordinal] = tuple(min(most, max(1, round(length))) for length in drawn)
        return self._lengths[ordinal]

    def grading_s(self, ordinal: int) -> float:
        """Seconds that a grader works on a group."""
        about, samples = self.scenario.grader, self.config.rollout.samples
        if not about.stuck_share:
            return samples * about.program_s
        draw = rng(self.scenario.seed, "grade", ordinal)
        stuck = sum(draw.random() < about.stuck_share for _ in range(samples))
        return (samples - stuck) * about.program_s + stuck * self.config.runtime.grade_deadline_s

    def update_s(self, keys: tuple[Key, ...]) -> float:
        """Seconds of an update on these groups."""
        tokens = sum(sum(self.lengths(key.ordinal)) for key in keys)
        return self.scenario.learner.update_s + 1e-6 * self.scenario.learner.token_us * tokens

    def start_s(self, name: str) -> float:
        """Seconds until a new process of a part is up."""
        by_kind = {"engine": self.scenario.engine, "grader": self.scenario.grader, LEARNER: self.scenario.learner}
        return by_kind[name.split("-")[0]].start_s
