"""Every command of the README parses and is run: by tests/docs/test_readme_commands.py, or by another test that is named."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from vgrout_cli.main import parser

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r'^```(|sh|bash)(?: title="([^"]*)")?\n(.*?)^```', re.S | re.M)
PAGES = ["README.md", *(str(p.relative_to(ROOT)) for p in [*ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/*.md")])]
FOLLOWED = {"docs/extending.md": "tests/docs/test_extending.py"}  # every block of these pages is run, in its order


def commands(page: str) -> list[str]:
    """Lines of the page's fenced commands, without the blocks whose title says what machine they need."""
    found = []
    for shell, title, text in BLOCK.findall((ROOT / page).read_text()):
        if (shell or PROGRAM.match(text)) and not title.startswith("needs "):
            found += [line for line in text.splitlines() if line.strip()]
    return found


PROGRAM = re.compile(r"(vgrout|make|ray|vllm|lm_eval|export|python|pip|git) ")
COMMANDS = commands("README.md")
# Lines that another test runs, with that test; the first words of a line are enough.
ELSEWHERE = {
    "make demo": "tests/install/test_wheel.py::test_demo",
    "vgrout suite": "tests/vgrout_cli/test_suite.py",
    "vgrout report out/suites": "tests/vgrout_cli/test_report.py",
    "vgrout view": "tests/vgrout_cli/test_view.py",
    "vgrout export-rollouts": "tests/vgrout_cli/test_export_rollouts.py",
    "vgrout init": "tests/vgrout_cli/test_habits.py",
    "vgrout list": "tests/vgrout_cli/test_terminal.py",
    "vgrout watch": "tests/vgrout_cli/test_terminal.py",
    "vllm serve": "tests/actors/test_export_served.py",
    "lm_eval": "tests/deploy/test_lm_eval.py",
    "export RAY_AUTH_MODE": "tests/actors/test_job.py::test_train_as_a_submitted_job",
    "ray ": "tests/actors/test_job.py::test_train_as_a_submitted_job",
    "vgrout data convert": "tests/sandbox/test_convert.py",
    "vgrout eval": "tests/docs/test_notebook.py",
    "vgrout export /shared": "tests/actors/test_export_fetch.py",
    "vgrout fetch": "tests/actors/test_export_fetch.py",
    "curl http://127.0.0.1:8000/v1/completions": "tests/actors/test_export_served.py",
}
QUICK = ("vgrout doctor", "vgrout data ", "vgrout simulate", "vgrout train configs/qwen3-4b.toml --dry-run")
CHAIN = ("vgrout train configs/tiny.toml", "vgrout train --resume", "vgrout eval", "vgrout export out", "vgrout report out/my")
GRADE = "vgrout grade "


@pytest.mark.parametrize("page", [page for page in PAGES if page not in FOLLOWED])
def test_every_command_is_run_somewhere_or_says_what_it_needs(page):
    known = (*ELSEWHERE, *QUICK, *CHAIN, GRADE, "make test") if page == "README.md" else (*ELSEWHERE, QUICK[-1])
    assert [line for line in commands(page) if not line.startswith(known)] == []


def test_the_tests_that_run_commands_are_there():
    assert "make test" in (ROOT / ".ci/run").read_text().splitlines()
    for test in [*ELSEWHERE.values(), *FOLLOWED.values()]:
        path, _, name = test.partition("::")
        assert (ROOT / path).is_file() and f"def {name}" in (ROOT / path).read_text(), test


@pytest.mark.parametrize("line", [c for c in COMMANDS if "vgrout " in c])
def test_command_parses(line):
    words = shlex.split(line)
    args = parser().parse_args(words[words.index("vgrout") + 1 :])
    config = getattr(args, "config", None)
    assert config is None or (ROOT / config).is_file()


def test_make_targets_exist():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    named = {word for line in COMMANDS if line.startswith("make ") for word in line.split()[1:]}
    assert named == {"demo", "test"} and named <= targets


def test_links_and_rooms_exist():
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert links and all((ROOT / link).exists() for link in links)
    tree = re.findall(r"^(\w+)/  ", README, re.M)
    folders = {p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith(".")} - {"out", "report"}
    tracked = set(
        subprocess.run(["git", "ls-tree", "-d", "--name-only", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    )
    assert set(tree) == (folders & tracked if tracked else set(tree))
    inside = {
        name
        for name in re.findall(r"\b(\w+)/(?= |,|;|\.|$)", README.partition("## What is where")[2].partition("```\n\n")[0], re.M)
    }
    assert all(any((ROOT / room / name).is_dir() for room in ("", *tree)) for name in inside), inside
