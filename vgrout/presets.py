"""Where the presets, arms, pairs, suites and the tiny model that come with vGROUT lie.

Invariant: the folder is that of the installed wheel, or `configs/` of the checkout that this file is part of; never one of
the working directory.
"""

from pathlib import Path


def packaged() -> Path:
    """The folder of everything that comes with vGROUT: `tiny.toml`, `arms/`, `suite/`, `tiny/model/`, ..."""
    here = Path(__file__).resolve().parent
    in_wheel = here / "configs"
    return in_wheel if in_wheel.is_dir() else here.parent / "configs"
