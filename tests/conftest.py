"""Tests run from any directory: the working directory is the checkout's, whose `configs/` many of them name.

Tests marked `real_model` run only where `-m` names the mark: they need a package and problem files that a checkout lacks.
"""

import os
from pathlib import Path

from hypothesis import settings

settings.register_profile("no deadline", deadline=None)  # how long an example takes says how busy the machine is
settings.load_profile("no deadline")


def pytest_configure(config):
    os.chdir(Path(__file__).parent.parent)


def pytest_collection_modifyitems(config, items):
    if "real_model" in (config.option.markexpr or ""):
        return
    left_out = [item for item in items if item.get_closest_marker("real_model")]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)
