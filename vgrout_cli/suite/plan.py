"""A suite: arms x seeds of one preset, read from a TOML file and laid out as jobs, one run directory each.

    OUT/suite.json                the state of every run
    OUT/<arm>/seed<N>/            an ordinary run directory, with log.txt beside its records

Invariant: the jobs are a pure function of the suite file and OUT; a job comes after the one that it needs (a placebo's label
shares are those of the routev run of its seed), and an arm's own fields win over the suite's `set`.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from vgrout.arms import read_arm
from vgrout.config import Config, MatchedGate
from vgrout.config import load as load_config
from vgrout.errors import UserError
from vgrout.fields import STRICT, each_once, option, required
from vgrout.named_files import arm_files, find, find_arm, is_path
from vgrout.toml_tables import read_toml
from vgrout.validate import validate

Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
Arm = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, config=STRICT)
class SuiteFile:
    """What a suite file may say: arms x seeds of one preset."""

    config: str = required("The preset: a packaged name, or a path relative to this file.", min_length=1)
    arms: tuple[Arm, ...] = required("The arms.", min_length=1)
    seeds: tuple[Seed, ...] = required("The seeds.", min_length=1)
    parallel: int = option(0, "Runs at a time; 0: as many as the Ray cluster of RAY_ADDRESS has room for.", ge=0, le=10_000)
    set: tuple[str, ...] = option((), "Changes of the preset, as with --set; what an arm says wins over them.")

    def check(self) -> None:
        """Raise UserError for a value given twice."""
        for name in ("arms", "seeds", "set"):
            each_once(name, getattr(self, name))


@dataclasses.dataclass(frozen=True)
class Suite:
    """A suite: its name, its preset's file, and what its file says. `needs`: arm -> the arm whose label shares it takes."""

    name: str
    config: Path
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    parallel: int
    sets: tuple[str, ...]
    needs: dict[str, str]


@dataclasses.dataclass(frozen=True)
class Job:
    """One run: where it goes, its whole configuration, the flags that make it, and the job that must be done before it."""

    name: str
    path: Path
    config: Config
    flags: tuple[str, ...]
    needs: str | None = None


def load(path: Path | str) -> Suite:
    """Read a suite file, or a packaged one by its name. Raises UserError naming file and field."""
    path = find("suite", path)
    said = validate(SuiteFile, read_toml(path), str(path))
    config = find("", (path.parent / said.config).resolve() if is_path(said.config) else said.config, f"{path}: config")
    needs = {}
    for arm in said.arms:
        needed = read_arm(*find_arm(config, arm, f"{path}: arms")).reference
        if needed and needed not in said.arms:
            raise UserError(f"{path}: arms", f"{arm} without {needed}", f"{needed} too ({arm} takes its label shares)")
        if needed:
            needs[arm] = needed
    return Suite(path.stem, config, said.arms, said.seeds, said.parallel, said.set, needs)


def jobs(suite: Suite, out: Path) -> list[Job]:
    """All jobs, seed by seed, in the order of the arms but for needed ones that come before. Raises UserError."""
    ordered = sorted(suite.arms, key=lambda arm: arm in suite.needs)
    found = {job.name: job for job in (_job(suite, out.resolve(), arm, seed) for seed in suite.seeds for arm in ordered)}
    for job in found.values():
        if job.needs and isinstance(job.config.gate, MatchedGate):
            job.config.gate.check_route(found[job.needs].config.gate)
    return [*found.values()]


def _job(suite: Suite, out: Path, arm: str, seed: int) -> Job:
    arm_file = arm_files(suite.config)[arm]
    sets = [text for text in suite.sets if not _decides(arm_file, text)]
    needs = suite.needs.get(arm)
    if needs:
        sets.append(f"gate.reference_run={out / needs / f'seed{seed}'}")
    config = load_config(suite.config, arm=arm, seed=seed, sets=sets)
    flags = (str(suite.config), "--arm", arm, "--seed", str(seed), *(flag for text in sets for flag in ("--set", text)))
    return Job(f"{arm}/seed{seed}", out / arm / f"seed{seed}", config, flags, f"{needs}/seed{seed}" if needs else None)


def _decides(arm_file: Path, text: str) -> bool:
    """Whether an arm file sets the field that `section.field=value` would change."""
    section, _, name = text.partition("=")[0].strip().partition(".")
    return name in read_toml(arm_file).get(section, {})
