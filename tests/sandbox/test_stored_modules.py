"""What is not imported ahead can still be imported: from memory, as it would be from its file."""

import json
import subprocess
import sys

import pytest
from small_problems import grade, make_problem

from sandbox.grading.grader import Grader
from sandbox.jail.stored_modules import StoredModules
from vgrout.records import Case, Status

# They need a terminal, a device, a network or another system's libraries, or act when they are imported.
NOT_HERE = {"audioop", "crypt", "curses", "nis", "ossaudiodev", "pty", "readline", "spwd", "ssl", "syslog", "termios", "tty"}
ACTS = {"antigravity", "this", "idlelib", "tkinter", "turtle", "turtledemo", "test"}
INNER = [
    *("unittest.mock", "asyncio.events", "xml.etree.ElementTree", "xml.dom.minidom", "email.mime.text", "html.parser"),
    *("http.client", "importlib.metadata", "importlib.resources", "json.tool", "logging.config", "logging.handlers"),
    *("multiprocessing.pool", "urllib.request", "ctypes.util", "encodings.cp1252", "wsgiref.util", "concurrent.futures.thread"),
]
TRY = """
import importlib
def missing(names):
    found = []
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError:
            found.append(name)
    return found
"""


def test_every_module_of_the_standard_library(grader: Grader) -> None:
    names = sorted(name for name in sys.stdlib_module_names if not name.startswith("_") and name not in NOT_HERE | ACTS) + INNER
    script = f"{TRY}\nimport json, sys\nprint(json.dumps(missing({names!r})))"
    outside = json.loads(subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, check=True).stdout)
    problem = make_problem([Case((names,), {}, outside)])
    audit = grade(grader, problem, f"{TRY}\nclass Solution:\n    def solve(self, names):\n        return missing(names)\n")[1]
    assert audit.status is Status.PASS, audit


def test_a_stored_module_is_like_an_imported_one(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kept_pack" / "inner").mkdir(parents=True)
    (tmp_path / "kept_pack" / "__init__.py").write_text("from . import leaf\nfrom .inner import deep\nNAME = __name__\n")
    (tmp_path / "kept_pack" / "leaf.py").write_text("X = [1]\n")
    (tmp_path / "kept_pack" / "inner" / "__init__.py").write_text("")
    (tmp_path / "kept_pack" / "inner" / "deep.py").write_text("from ..leaf import X\nPLACE = __file__, __package__\n")
    (tmp_path / "kept_pack" / "broken.py").write_text("def\n")
    stored = StoredModules(tmp_path, ["kept_pack", "kept_absent", "sys"])
    for file in tmp_path.rglob("*.py"):
        file.unlink()
    monkeypatch.setattr(sys, "meta_path", [stored, *sys.meta_path])
    import kept_pack  # pyright: ignore[reportMissingImports]
    import kept_pack.leaf  # pyright: ignore[reportMissingImports]

    place = tmp_path / "kept_pack"
    assert kept_pack.NAME == "kept_pack"
    assert kept_pack.__path__ == [str(place)]
    assert (str(place / "inner" / "deep.py"), "kept_pack.inner") == kept_pack.inner.deep.PLACE
    assert kept_pack.inner.deep.X is kept_pack.leaf.X
    assert kept_pack.leaf.__spec__.origin == str(place / "leaf.py")
    for absent in ("kept_absent", "kept_pack.broken"):
        assert stored.find_spec(absent) is None
    for name in [name for name in sys.modules if name.startswith("kept_pack")]:
        del sys.modules[name]


SPOIL = """
import ctypes, sys
class Buffer(ctypes.Structure):
    _fields_ = [("start", ctypes.c_void_p), ("rest", ctypes.c_byte * 128)]
class Solution:
    def solve(self):
        store = next(one for one in sys.meta_path if hasattr(one, "_store"))._store
        buffer = Buffer()
        ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(store), ctypes.byref(buffer), 0)
        if SPOIL and ctypes.CDLL(None).mprotect(ctypes.c_void_p(buffer.start), ctypes.c_size_t(4096), 3) == 0:
            ctypes.memset(buffer.start, 90, 64)
        return store[:64] == b"Z" * 64
"""


def test_a_program_that_writes_to_the_store_changes_a_copy(grader: Grader) -> None:
    for spoils in (True, False):
        problem = make_problem([Case((), {}, spoils)])
        audit = grade(grader, problem, SPOIL.replace("SPOIL", str(spoils)))[1]
        assert audit.status is Status.PASS, (spoils, audit)
