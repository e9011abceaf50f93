"""The wheel, installed into a fresh virtual environment, as an ordinary user uses it: in an empty folder with files of his own.

The environment takes torch, Ray and vLLM from the one that runs the tests (a .pth file), and vGROUT from the wheel alone.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.engine]
ROOT = Path(__file__).parents[2]
USER = 12345
DECOY = "raise SystemExit('the decoy {} was imported')\n"


def identity() -> dict[str, object]:
    """What makes `subprocess.run` an ordinary user's; all tests are one's already where root does not run them."""
    return {"user": USER, "group": USER, "extra_groups": []} if os.geteuid() == 0 else {}


def usable_python() -> Path:
    """The running interpreter, or the system's of the same version where an ordinary user may not run it."""
    system = Path(f"/usr/bin/python3.{sys.version_info.minor}")
    packages = next(p for p in sys.path if p.endswith("site-packages"))
    for python in (Path(os.path.realpath(sys.executable)), system):
        check = f"import os, ctypes, ssl; os.listdir({packages!r})"
        try:
            if subprocess.run([python, "-c", check], cwd="/", capture_output=True, **identity()).returncode == 0:  # type: ignore[call-overload]
                return python
        except OSError:
            continue
    pytest.skip(f"no Python 3.{sys.version_info.minor} that an ordinary user may run and that can read {packages}")


@pytest.fixture(scope="module")
def installed():
    """(bin folder of the new environment, an ordinary user's folder with decoys); under /tmp, where he may look."""
    python = usable_python()
    top = Path(tempfile.mkdtemp(prefix="vgrout-"))
    top.chmod(0o755)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", top, ROOT]
    subprocess.run(build, check=True)
    subprocess.run([python, "-m", "venv", "--without-pip", top / "venv"], check=True)
    (wheel,) = top.glob("vgrout-*.whl")
    environment = top / "venv/bin/python"
    pip = [sys.executable, "-m", "pip", "--python", environment, "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(pip, check=True)
    (site,) = (top / "venv/lib").glob("python*/site-packages")
    borrowed = [p for p in sys.path if p.endswith("site-packages")]
    (site / "borrowed.pth").write_text("".join(f"{p}\n" for p in borrowed))
    home = top / "home"
    (home / "actors").mkdir(parents=True)
    for name in ("learner.py", "sandbox.py", "vgrout.py", "actors/__init__.py"):
        (home / name).write_text(DECOY.format(name))
    if identity():
        for path in (home, *home.rglob("*")):
            os.chown(path, USER, USER)
    yield top / "venv/bin", home
    shutil.rmtree(top)


def run(installed, *words: str) -> subprocess.CompletedProcess[str]:
    binaries, home = installed
    environment = {
        "PATH": f"{binaries}:/usr/bin:/bin",
        "HOME": str(home),
        "RAY_TMPDIR": str(home),  # /tmp/ray may be another user's
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    command = [binaries / words[0], *words[1:]]
    done = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, **identity())  # type: ignore[call-overload]
    assert done.returncode == 0, f"{words}: exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
    return done


def test_our_own_code_comes_from_the_wheel(installed):
    code = "import vgrout, learner, vgrout_cli.main; print(vgrout.__file__, learner.__file__)"
    places = run(installed, "python", "-P", "-c", code).stdout.split()
    assert all(Path(place).is_relative_to(installed[0].parent) for place in places), places


def test_train_a_packaged_preset(installed):
    run(installed, "vgrout", "train", "tiny", "--set", "train.updates=2", "--out", "mine")
    assert (installed[1] / "mine/deploy/adapter_model.safetensors").is_file()


def test_demo(installed):
    asked = (ROOT / "configs" / "tiny" / "test.jsonl").read_text().splitlines(keepends=True)[:16]
    (installed[1] / "few.jsonl").write_text("".join(asked))  # all 128 would take minutes on the transformers engine
    small = ["train.updates=2", "rollout.prompts=2", "eval.samples=1", "runtime.engine=hf", "runtime.backend=local",
             "data.test=few.jsonl"]  # fmt: skip
    said = run(installed, "vgrout", "demo", *(word for text in small for word in ("--set", text))).stdout
    assert "vanilla" in said and "routev" in said
    assert (installed[1] / "out/demo/curves.png").is_file()


def test_a_decoy_that_does_come_first_is_one_message(installed):
    binaries, home = installed
    command = [binaries / "python", "-m", "vgrout_cli.main", "doctor"]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert f"package vgrout: found {home / 'vgrout.py'}" in done.stderr
