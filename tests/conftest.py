"""Tests run from any directory: the working directory is the checkout's, whose `configs/` many of them name.

Tests with a mark of OPT_IN run only where `-m` names the mark: `real_model` needs a package and problem files that a checkout
lacks, `rebuild` takes eight minutes and says nothing new as long as the tiny world is not changed.
"""

import os
from pathlib import Path

from hypothesis import settings

settings.register_profile("no deadline", deadline=None)  # how long an example takes says how busy the machine is
settings.load_profile("no deadline")


OPT_IN = ("real_model", "rebuild")


os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin while they wait starve other work of the processor


def pytest_configure(config):
    os.chdir(Path(__file__).parent.parent)


def pytest_collection_modifyitems(config, items):
    asked = config.option.markexpr or ""
    left_out = [item for item in items if any(mark not in asked and item.get_closest_marker(mark) for mark in OPT_IN)]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)
