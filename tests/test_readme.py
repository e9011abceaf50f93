"""Every `vgrout` command of the README parses, every make target exists, every linked file is there."""

import re
import shlex
from pathlib import Path

import pytest

from vgrout_cli.main import parser

README = Path("README.md").read_text()
COMMANDS = [line for block in re.findall(r"```\n(.*?)```", README, re.S) for line in block.splitlines()]


@pytest.mark.parametrize("line", [c for c in COMMANDS if "vgrout " in c])
def test_command_parses(line):
    words = shlex.split(line)
    args = parser().parse_args(words[words.index("vgrout") + 1 :])
    config = getattr(args, "config", None)
    assert config is None or config.is_file()


def test_make_targets_exist():
    targets = set(re.findall(r"^(\w+):", Path("Makefile").read_text(), re.M))
    named = {word for line in COMMANDS if line.startswith("make ") for word in line.split()[1:]}
    assert named == {"demo", "test"} and named <= targets


def test_links_and_rooms_exist():
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert links and all(Path(link).exists() for link in links)
    assert all(Path(room).is_dir() for room in re.findall(r"^(\w+)/ ", README, re.M))
