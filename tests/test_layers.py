"""The layer rule over all imports, function-local and TYPE_CHECKING ones too: arrows point one way, and there are no circles.

`vgrout_cli -> actors -> learner, sandbox -> vgrout`; only actors/ knows ray and vllm; the roof is imported by nobody.
"""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "vgrout": {"vgrout"},
    "sandbox": {"vgrout", "sandbox"},
    "learner": {"vgrout", "learner"},
    "actors": {"vgrout", "sandbox", "learner", "actors"},
    "vgrout_cli": {"vgrout", "sandbox", "learner", "actors", "vgrout_cli"},
}
FORBIDDEN = {
    "vgrout": {"torch", "ray", "vllm", "transformers"},
    "sandbox": {"torch", "ray", "vllm", "transformers"},
    "learner": {"ray", "vllm"},
    "actors": set(),
    "vgrout_cli": {"vllm", "ray"},
}
FILES = [path.relative_to(ROOT) for room in sorted(MAY_IMPORT) for path in sorted((ROOT / room).rglob("*.py"))]


def module_of(path: Path) -> str:
    """Dotted name of a file; a folder's `__init__.py` is the folder."""
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in FILES}


def imported(source: str) -> set[str]:
    """Every dotted name that a file imports, anywhere in it: `from a import b` counts as a.b where that is a module."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, "relative imports hide where an arrow points"
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in MODULES else node.module for name in whole}
    return names


def violations(path: Path, source: str) -> list[str]:
    """Imports of a file that its room may not have."""
    room = path.parts[0]
    tops = {name: name.split(".")[0] for name in imported(source)}
    up = [n for n, top in tops.items() if top in MAY_IMPORT and top not in MAY_IMPORT[room]]
    foreign = [n for n, top in tops.items() if top in FORBIDDEN[room]]
    return sorted(up + foreign)


def folder_of(module: str) -> str:
    """The folder that a module lies in."""
    return str(MODULES[module].parent)


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """Folders on some circle of arrows, or nothing."""
    left = {folder: set(targets) for folder, targets in arrows.items()}
    while True:
        ends = {folder for folder, targets in left.items() if not targets & set(left)}
        if not ends:
            return sorted(left)
        for folder in ends:
            del left[folder]


def folder_arrows(sources: dict[Path, str]) -> dict[str, set[str]]:
    """Folder -> other folders that its files import."""
    arrows: dict[str, set[str]] = defaultdict(set)
    for path, source in sources.items():
        for name in imported(source):
            if name in MODULES and folder_of(name) != str(path.parent):
                arrows[str(path.parent)].add(folder_of(name))
    return arrows


SOURCES = {path: (ROOT / path).read_text() for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_arrows_point_one_way(path: Path) -> None:
    assert violations(path, SOURCES[path]) == []


def test_folders_import_in_no_circle() -> None:
    assert circle(folder_arrows(SOURCES)) == []


def test_every_import_of_ours_exists() -> None:
    ours = {(str(p), n) for p, s in SOURCES.items() for n in imported(s) if n.split(".")[0] in MAY_IMPORT}
    assert {(path, name) for path, name in ours if name not in MODULES} == set()


def test_a_planted_function_local_import_is_noticed() -> None:
    path = Path("vgrout/errors.py")
    planted = SOURCES[path] + "\n\ndef late():\n    from vgrout_cli.main import main\n    return main\n"
    assert violations(path, planted) == ["vgrout_cli.main"]
    typed = SOURCES[path] + "\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import actors.training\n"
    assert violations(path, typed) == ["actors.training"]


def test_a_planted_circle_is_noticed() -> None:
    path = Path("actors/journal/format.py")
    planted = {**SOURCES, path: SOURCES[path] + "\n\ndef late():\n    import actors.async_run.scheduler\n"}
    assert {"actors/async_run", "actors/journal"} <= set(circle(folder_arrows(planted)))


def test_no_file_is_longer_than_400_lines() -> None:
    folders = [*MAY_IMPORT, "tests", "bench"]
    lengths = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for f in folders for p in (ROOT / f).rglob("*.py")}
    assert {path: length for path, length in lengths.items() if length > 400} == {}


def test_types_are_named() -> None:
    """At most 8 names `Any` per 1,000 lines, imports included: signatures say what goes in and comes out."""
    text = "\n".join(SOURCES.values())
    found, lines = len(re.findall(r"\bAny\b", text)), text.count("\n") + 1
    assert 1000 * found / lines <= 8, f"{found} times in {lines} lines"


def test_the_command_line_imports_no_torch_ray_or_vllm():
    code = "import sys, vgrout_cli.main; print([m for m in ('torch', 'ray', 'vllm', 'transformers') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
