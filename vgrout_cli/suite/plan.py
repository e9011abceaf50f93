"""A suite: arms x seeds of one preset, read from a TOML file and laid out as jobs, one run directory each.

    OUT/suite.json                what every run has come to
    OUT/<arm>/seed<N>/            an ordinary run directory, with log.txt beside its records

Invariant: the jobs are a pure function of the suite file and OUT; a job comes after the one that it needs (a placebo's label
shares are those of the routev run of its seed), and an arm's own fields win over the suite's `set`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vgrout.config import Config
from vgrout.config import load as load_config
from vgrout.errors import UserError
from vgrout.toml_dataclass import read_toml

NEEDS = {"placebo": "routev", "placebo_ub": "routev_ub"}  # arm: the arm whose run of the same seed it is matched to
_KINDS = {"config": str, "seeds": list, "arms": list, "parallel": int, "set": list}


@dataclass(frozen=True)
class Suite:
    """What a suite file says. `parallel` runs at a time; 0: as many as the Ray cluster of RAY_ADDRESS has room for."""

    name: str
    config: Path
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    parallel: int
    sets: tuple[str, ...]


@dataclass(frozen=True)
class Job:
    """One run: where it goes, its whole configuration, the flags that make it, and the job that must be done before it."""

    name: str
    path: Path
    config: Config
    flags: tuple[str, ...]
    needs: str | None = None


def load(path: Path) -> Suite:
    """Read a suite file. Raises UserError naming file and field."""
    table = read_toml(path)
    for key, value in table.items():
        if key not in _KINDS:
            raise UserError(f"{path}: {key}", "an unknown key", f"one of {', '.join(_KINDS)}")
        if type(value) is not _KINDS[key]:
            raise UserError(f"{path}: {key}", repr(value), f"a value of type {_KINDS[key].__name__}")
    for key in ("config", "seeds", "arms"):
        if not table.get(key):
            raise UserError(f"{path}: {key}", "nothing", "a value (a suite is arms x seeds of one config)")
    arms, seeds = _each_once(path, "arms", table["arms"], str), _each_once(path, "seeds", table["seeds"], int)
    for arm, needed in NEEDS.items():
        if arm in arms and needed not in arms:
            raise UserError(f"{path}: arms", f"{arm} without {needed}", f"{needed} too ({arm} takes its label shares)")
    parallel = table.get("parallel", 0)
    if parallel < 0:
        raise UserError(f"{path}: parallel", str(parallel), "runs at a time, or 0: as many as the Ray cluster has room for")
    config = (path.parent / table["config"]).resolve()
    return Suite(path.stem, config, arms, seeds, parallel, _each_once(path, "set", table.get("set", []), str))


def jobs(suite: Suite, out: Path) -> list[Job]:
    """All jobs, seed by seed, in the order of the arms but for needed ones that come before. Raises UserError."""
    ordered = sorted(suite.arms, key=lambda arm: arm in NEEDS)
    return [_job(suite, out.resolve(), arm, seed) for seed in suite.seeds for arm in ordered]


def _job(suite: Suite, out: Path, arm: str, seed: int) -> Job:
    sets = [text for text in suite.sets if not _decides(suite.config.parent / "arms" / f"{arm}.toml", text)]
    needs = NEEDS.get(arm)
    if needs:
        sets.append(f"gate.reference_run={out / needs / f'seed{seed}'}")
    config = load_config(suite.config, arm=arm, seed=seed, sets=sets)
    flags = (str(suite.config), "--arm", arm, "--seed", str(seed), *(flag for text in sets for flag in ("--set", text)))
    return Job(f"{arm}/seed{seed}", out / arm / f"seed{seed}", config, flags, f"{needs}/seed{seed}" if needs else None)


def _decides(arm_file: Path, text: str) -> bool:
    """Whether an arm file sets the field that `section.field=value` would change."""
    section, _, name = text.partition("=")[0].strip().partition(".")
    return arm_file.is_file() and name in read_toml(arm_file).get(section, {})


def _each_once(path: Path, key: str, values: list[Any], kind: type) -> tuple[Any, ...]:
    for value in values:
        if type(value) is not kind or values.count(value) > 1:
            raise UserError(f"{path}: {key}", repr(value), f"values of type {kind.__name__}, each once")
    return tuple(values)
