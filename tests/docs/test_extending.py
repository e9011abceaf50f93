"""docs/extending.md does what it says: its blocks are applied to a copy of the repository, and its commands run there."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.loopholes.loophole import Run
from sandbox.loopholes.plug_in import FIELDS

ROOT = Path(__file__).parent.parent.parent
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", (ROOT / "docs/extending.md").read_text(), re.S | re.M))
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```', re.S | re.M)
SMALL = ["train.updates=1", "rollout.prompts=2", "rollout.samples=2", "rollout.max_new_tokens=16"]
SMALL += ["runtime.engine=hf", "runtime.backend=local", "runtime.graders=1", "runtime.learner_threads=1"]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the repository, and a folder with `vgrout` and `python` that run its code."""
    here = tmp_path_factory.mktemp("extending")
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file() and not name.startswith("docs/results"):
            (here / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, here / "tree" / name)
    (here / "bin").mkdir()
    for name, words in (("python", '"$@"'), ("vgrout", '-m vgrout_cli.main "$@"')):
        (here / "bin" / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words}\n')
        (here / "bin" / name).chmod(0o755)
    return here


def follow(copy: Path, section: str, trains: bool) -> str:
    """Apply the blocks of a section in their order and run its commands; returns what they printed."""
    tree, said = copy / "tree", ""
    env = os.environ | {"PATH": f"{copy / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(tree), "OMP_WAIT_POLICY": "PASSIVE"}
    for language, path, text in BLOCK.findall(SECTIONS[section]):
        if language == "diff":
            subprocess.run(["git", "apply", "--verbose", "-"], cwd=tree, input=text, text=True, check=True)
        elif path:
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(text)
        else:
            assert language == "sh"
            for line in text.splitlines():
                training = " train " in line and "--dry-run" not in line
                if training and not trains:
                    continue
                line += "".join(f" --set {word}" for word in SMALL) if training else ""
                done = subprocess.run(["bash", "-c", line], cwd=tree, env=env, capture_output=True, text=True)
                assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
                said += done.stdout
    return said


def test_every_change_of_the_page_fits_the_code():
    """Without applying it; each section's changes are of files of their own."""
    changes = [text for section in SECTIONS.values() for language, _, text in BLOCK.findall(section) if language == "diff"]
    assert changes
    for text in changes:
        done = subprocess.run(["git", "apply", "--check", "-"], cwd=ROOT, input=text, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_your_own_gate(copy):
    """The page alone: the rule, its arm, its test, the generated files, the layer rule, a run whose labels follow the edges."""
    assert "passed" in follow(copy, "Your own gate", trains=True)
    layers = [copy / "bin/python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_layers.py"]
    env = os.environ | {"PYTHONPATH": str(copy / "tree")}
    assert subprocess.run(layers, cwd=copy / "tree", env=env, capture_output=True).returncode == 0
    rows = [json.loads(line) for line in (copy / "tree/out/fixed/rollouts.jsonl").read_text().splitlines()]
    assert rows and all(r["label"] == ("clean" if r["score"] < 0 else "hack" if r["score"] > 0.05 else "mid") for r in rows)
    changed = {p for _, p, _ in BLOCK.findall(SECTIONS["Your own gate"]) if p}
    assert all(f"`{name}`" in SECTIONS["Your own gate"] for name in changed if "/arms/" not in name and "test_" not in name)


@pytest.mark.slow
def test_your_own_model(copy):
    follow(copy, "Your own model", trains=True)
    assert (copy / "tree/out/other-model/deploy/adapter_model.safetensors").is_file()


def test_your_own_arm(copy):
    assert "routev with a stronger KL term" in follow(copy, "Your own arm", trains=False)


def test_your_own_problems(copy):
    follow(copy, "Your own problems", trains=False)


def test_your_own_loophole(copy):
    assert "0 findings" in follow(copy, "Your own loophole", trains=False)


def test_the_page_names_what_a_loophole_is_made_of():
    text = SECTIONS["Your own loophole"]
    seen = [f.name for f in dataclasses.fields(Run) if f.name not in ("reported", "again")]
    assert all(f"`{name}`" in text for name in seen) and all(f"`{name}" in text for name in FIELDS)
