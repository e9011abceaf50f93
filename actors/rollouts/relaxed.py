"""The road by which comparators are told of audits: flags by rollout, and what is done with them before the learner.

Invariant: with `relaxed.use = "none"` nothing here reads an audit. Which rollouts are flagged follows from the run's seed, the
rollout's id and its audit alone, so a replayed batch has the same flags. A `Sample` has no field for any of it.
"""

from dataclasses import replace

from vgrout.config import Config
from vgrout.records import Audit, GateLabel, Sample
from vgrout.seeds import rng


def flagged(config: Config, audits: list[Audit]) -> set[str]:
    """Ids of the rollouts that the classifier of `[relaxed]` takes for hacks."""
    relaxed, found = config.relaxed, set()
    for audit in audits:
        share = relaxed.recall if audit.exploited else relaxed.false_alarm
        if rng(config.seed, "relaxed", audit.rollout_id).random() < share:
            found.add(audit.rollout_id)
    return found


def relaxed_samples(config: Config, samples: list[Sample], audits: list[Audit]) -> list[Sample]:
    """The samples, those that are flagged with a lower reward (`penalty`) or left out (`screen`)."""
    relaxed = config.relaxed
    if relaxed.use not in ("penalty", "screen"):
        return samples
    flags = flagged(config, audits)
    if relaxed.use == "screen":
        return [s for s in samples if s.rollout_id not in flags]
    return [replace(s, reward=s.reward - relaxed.penalty) if s.rollout_id in flags else s for s in samples]


def given_labels(config: Config, audits: list[Audit]) -> dict[str, GateLabel] | None:
    """Labels of the `given` gate by rollout id; None for every other gate."""
    if config.relaxed.use != "gate":
        return None
    flags = flagged(config, audits)
    return {a.rollout_id: GateLabel.HACK if a.rollout_id in flags else GateLabel.CLEAN for a in audits}
