"""The documentation site builds strictly, shows every formula without a script, and asks no other machine for anything."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from vgrout_cli.commands.help_texts import ABOUT, GROUPS
from vgrout_cli.main import COMMANDS, parser

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
ELSEWHERE = r"(?:https?:)?//"
ASKS = re.compile(
    rf'<(?:script|img|iframe|source)\b[^>]*\bsrc="{ELSEWHERE}|<link\b[^>]*\bhref="{ELSEWHERE}|@import|url\({ELSEWHERE}'
)


def script(name: str):
    """A script of docs/scripts as a module."""
    spec = importlib.util.spec_from_file_location(name, DOCS / "scripts" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return {path.relative_to(out).as_posix(): path.read_text() for path in out.rglob("*.html")}


def test_the_strict_build_has_every_page(site):
    names = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")}
    pages = {re.sub(r"(^|/)README$", r"\1index", name) + ".html" for name in names}
    assert pages - set(site) == set()


def test_no_page_asks_another_machine(site):
    found = {name: ASKS.findall(text) for name, text in site.items()}
    assert {name: asked for name, asked in found.items() if asked} == {}


def test_every_formula_is_mathml(site):
    method = site["method.html"]
    text = re.sub(r"```.*?```|`[^`]*`", "", (DOCS / "method.md").read_text(), flags=re.S)
    formulas = re.findall(r"\$\$.+?\$\$|\$[^$]+\$", text, re.S)
    assert len(formulas) > 20
    assert method.count("<math") == len(formulas)
    assert "arithmatex" not in method


def test_the_picture_of_the_method_is_what_its_script_draws(tmp_path):
    script("method_figure").draw(tmp_path / "method.svg")
    assert (tmp_path / "method.svg").read_text() == (DOCS / "figures" / "method.svg").read_text()


def test_the_command_line_page_is_what_its_script_writes():
    assert (DOCS / "reference" / "cli.md").read_text() == script("cli_reference").page(), "run docs/scripts/cli_reference.py"


def test_help_is_for_users():
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(COMMANDS)
    assert {name for name in ABOUT if " " not in name} == set(COMMANDS)
    missing, stack = [], [("vgrout", parser())]
    while stack:
        name, one = stack.pop()
        assert "Invariant" not in one.format_help(), name
        for action in one._actions:
            if isinstance(action.choices, dict):
                stack += [(f"{name} {sub}", child) for sub, child in action.choices.items()]
            elif not action.help:
                missing.append(f"{name}: {action.dest}")
    assert missing == []


def test_files_that_pages_and_docstrings_name_exist():
    rooms = ("vgrout", "vgrout_cli", "actors", "learner", "sandbox", "tests", "bench")
    named = re.compile(rf"(?<![\w/])(?:{'|'.join(rooms)})/[\w/]+\.py\b")
    texts = {path: path.read_text() for path in (*DOCS.glob("*.md"), *(p for room in rooms for p in (ROOT / room).rglob("*.py")))}
    made = set(re.findall(r'title="([^"]+)"', texts[DOCS / "extending.md"]))  # files that a reader makes
    found = {(path.relative_to(ROOT).as_posix(), name) for path, text in texts.items() for name in named.findall(text)}
    assert {(where, name) for where, name in found if name not in made and not (ROOT / name).exists()} == set()
