"""What `ray job submit --working-dir .` uploads, packed by Ray's own packager: everything that is imported is in it, and runs."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from ray._private.runtime_env.packaging import create_package

ROOT = Path(__file__).parents[2]
OURS = ("vgrout", "vgrout_cli", "actors", "learner", "sandbox", "configs")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The job's working directory as a node of the cluster gets it."""
    folder = tmp_path_factory.mktemp("job")
    create_package(str(ROOT), folder / "package.zip", include_gitignore=True)
    with zipfile.ZipFile(folder / "package.zip") as package:
        package.extractall(folder / "here")
    return folder / "here"


def tracked(*folders: str) -> set[str]:
    """Files of these folders that are code or data: all but byte code."""
    files = (p for folder in folders for p in (ROOT / folder).rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return {str(p.relative_to(ROOT)) for p in files}


def test_every_file_of_ours_is_uploaded_and_nothing_big(unpacked: Path) -> None:
    there = {str(p.relative_to(unpacked)) for p in unpacked.rglob("*") if p.is_file()}
    assert tracked(*OURS) - there == set()
    assert {path.split("/")[0] for path in there} & {"tests", "bench", "docs", "out", "report", ".git", ".venv"} == set()
    assert sum((unpacked / path).stat().st_size for path in there) < 20 * 2**20


def run_there(folder: Path, code: str, *words: str) -> str:
    """Run code in `folder` with that folder first on the path, as a job's driver has it; what it prints."""
    first = f"import sys; sys.path.insert(0, {str(folder)!r})\n"
    done = subprocess.run([sys.executable, "-P", "-c", first + code, *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_command_runs_from_the_upload_alone(unpacked: Path) -> None:
    code = "import vgrout_cli.main as m; print(m.__file__); m.main(sys.argv[1:])"
    said = run_there(unpacked, code, "train", str(unpacked / "configs/tiny.toml"), "--dry-run")
    assert said.splitlines()[0] == str(unpacked / "vgrout_cli/main.py") and "engine" in said


def test_every_module_of_the_roof_can_be_imported_there(unpacked: Path) -> None:
    paths = sorted(p for p in tracked("vgrout_cli") if p.endswith(".py"))
    names = [p.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for p in paths]
    run_there(unpacked, "\n".join(f"import {name}" for name in names))
