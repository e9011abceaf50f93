"""What an arm's file says of the arm: its meaning, what it changes, and which arm's label shares it takes.

Invariant: these facts are in the arm's file alone; suites, reports and `vgrout arms` read them here.
"""

from dataclasses import dataclass
from pathlib import Path

from vgrout.named_files import arm_files
from vgrout.presets import packaged
from vgrout.rows import Row
from vgrout.toml_tables import first_comment, read_toml

DIRECTIONS = "placebo_direction_"  # placebos that differ in their random directions alone


@dataclass(frozen=True)
class Arm:
    """One arm. `reference`: the arm whose label shares it takes, or an empty text."""

    name: str
    path: Path
    meaning: str
    changes: Row
    reference: str


def read_arm(name: str, path: Path) -> Arm:
    """Read an arm's file. Raises UserError where it is no TOML."""
    changes = read_toml(path)
    gate = changes.get("gate")
    reference = gate.get("reference_arm", "") if isinstance(gate, dict) else ""
    return Arm(name, path, first_comment(path), changes, str(reference))


def arms_of(preset: Path) -> list[Arm]:
    """All arms that a preset can have, by name."""
    return [read_arm(name, path) for name, path in sorted(arm_files(preset).items())]


def placebos() -> dict[str, str]:
    """Of the packaged arms: an arm and the placebo that takes its label shares."""
    found: dict[str, str] = {}
    for arm in arms_of(packaged() / "tiny.toml"):
        if arm.reference and not arm.name.startswith(DIRECTIONS):
            found[arm.reference] = arm.name
    return found
