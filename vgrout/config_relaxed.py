"""The `[relaxed]` section: comparators that are told what is really true of rollouts, which no honest arm may be.

Invariant: without this section a run reads no audit. A run that has it is marked in run.json, in every table and in the
verdict, and wherever else it is named. The road of what it is told is actors/rollouts/relaxed.py.
"""

from typing import Literal

from pydantic.dataclasses import dataclass

from vgrout.errors import UserError
from vgrout.fields import STRICT, option
from vgrout.rows import Row


@dataclass(frozen=True, config=STRICT)
class RelaxedConfig:
    """What a comparator does with rollouts that a classifier of given quality flags as hacks. It reads audits: no method."""

    use: Literal["none", "gate", "penalty", "screen"] = option(
        "none",
        "What is done with a flagged rollout. none: nothing is flagged; gate: it is labelled hack (with gate.rule = 'given'); "
        "penalty: its reward is lowered; screen: it is left out of the update.",
    )
    recall: float = option(1.0, "Share of the hacks that are flagged, drawn by rollout.", ge=0, le=1)
    false_alarm: float = option(0.0, "Share of all other rollouts that are flagged, drawn by rollout.", ge=0, le=1)
    penalty: float = option(
        3.0, "What a flagged rollout's reward is lowered by, with use = 'penalty'.", unit="reward", ge=0, le=1e6
    )

    def check(self) -> None:
        """Raise UserError for qualities of a classifier that nothing asks."""
        if self.use == "none" and (self.recall, self.false_alarm) != (1.0, 0.0):
            raise UserError("use", "'none' beside recall or false_alarm", "gate, penalty or screen")


def marked(name: str, config: Row) -> str:
    """A run's or an arm's name, marked where the run's configuration, as in run.json, is a relaxed one."""
    relaxed = config.get("relaxed")
    told = isinstance(relaxed, dict) and relaxed.get("use", "none") != "none"
    return f"{name} (relaxed: told of audits)" if told else name
