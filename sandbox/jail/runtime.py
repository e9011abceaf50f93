"""What model-written code can import: all of the standard library that does not draw or ask, and a short list of other packages.

Invariant: everything is imported once, in the zygote, before the first program; a program opens no file of the interpreter,
so it works the same where the interpreter lies under a home folder, and reading leaves no trace that another program can see.
"""

import importlib
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

# Third-party packages that honest solutions import. One that is not installed is left out.
PACKAGES = ("sortedcontainers",)

# They draw, ask, print, write files, test the interpreter itself or serve a network, which no program has. Every page that they
# would take is mapped once more at every fork.
_LEFT_OUT = """
antigravity asynchat asyncore cgi cgitb distutils ensurepip ftplib idlelib imaplib lib2to3 mailbox mailcap modulefinder nis
nntplib pickletools poplib pydoc_data readline rlcompleter smtpd smtplib socketserver telnetlib test this tkinter turtle
turtledemo venv webbrowser wsgiref xmlrpc zipapp
""".split()  # noqa: SIM905
_SUBMODULES = """
_strptime collections.abc concurrent.futures.process concurrent.futures.thread ctypes.util email.mime.text encodings.ascii
encodings.hex_codec encodings.idna encodings.latin_1 encodings.raw_unicode_escape encodings.unicode_escape encodings.utf_16
encodings.utf_32 encodings.utf_8 encodings.utf_8_sig html.parser http.client importlib.abc importlib.metadata
importlib.resources importlib.util json.decoder json.encoder logging.config logging.handlers multiprocessing.dummy
multiprocessing.pool os.path unittest.mock urllib.parse urllib.request xml.dom.minidom xml.etree.ElementTree
numpy.fft numpy.linalg numpy.random
""".split()  # noqa: SIM905


def stdlib() -> Path:
    """The folder of the running interpreter's standard library."""
    return Path(sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix, "base": sys.base_prefix})).resolve()


def program_path() -> list[str]:
    """sys.path for model-written code: the standard library alone."""
    return [str(stdlib()), str(stdlib() / "lib-dynload")]


def not_installed(packages: Iterable[str]) -> list[str]:
    """Those of `packages` that were asked for and are not there; PACKAGES may be missing."""
    return [name for name in packages if name not in PACKAGES and (not name.isidentifier() or find_spec(name) is None)]


def package_folders(packages: Iterable[str] = PACKAGES) -> list[str]:
    """The folders that the installed ones of `packages` lie in."""
    specs = [find_spec(name) for name in packages if name.isidentifier()]
    places = [place for spec in specs if spec is not None for place in (spec.submodule_search_locations or [])]
    return sorted({str(Path(place).resolve().parent) for place in places})


def readable_paths() -> list[Path]:
    """What the zygote itself reads at L3: the interpreter's library and the system's shared libraries."""
    entries = [entry for entry in stdlib().iterdir() if entry.name not in ("site-packages", "dist-packages")]
    base = Path(sys.base_prefix)
    multiarch = sysconfig.get_config_var("MULTIARCH")
    places = [Path("/lib64"), Path("/usr/lib64"), Path("/etc/ld.so.cache")]
    places += [Path(root, multiarch) for root in ("/lib", "/usr/lib") if multiarch]
    places += [library for folder in ("lib", "lib64") for library in (base / folder).glob("*.so*")]
    return sorted({path.resolve() for path in [*entries, *places] if path.exists()})


def warm_up(packages: Iterable[str], folders: list[str]) -> None:
    """Import all that programs may import, then leave only the standard library on the path."""
    sys.path[:] = program_path() + folders
    for name in _modules(packages):
        try:
            importlib.import_module(name)
        except ImportError:  # an interpreter built without sqlite3, lzma, ..., another system's module
            continue
    sys.path[:] = program_path()


def _modules(packages: Iterable[str]) -> Iterator[str]:
    packages = tuple(packages)
    yield from sorted(name for name in sys.stdlib_module_names if not name.startswith("_") and name not in _LEFT_OUT)
    yield from packages
    tops = {*sys.stdlib_module_names, *packages}
    yield from (name for name in _SUBMODULES if name.partition(".")[0] in tops)
