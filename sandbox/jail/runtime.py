"""What model-written code can import: the standard library without terminals, devices and networks, and a few other packages.

Invariant: what is likely to be imported is imported once, in the zygote, before the first program, and the code of the rest is
kept in memory; a program opens no file of the interpreter, so it works the same where the interpreter lies under a home folder,
and reading leaves no trace that another program can see.
"""

import importlib
import sys
import sysconfig
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from sandbox.jail.stored_modules import StoredModules

# Third-party packages that honest solutions import. One that is not installed is left out.
PACKAGES = ("sortedcontainers",)

# What honest programs import, and what that imports in turn. The rest of the standard library is stored.
_AT_HAND = """
_strptime abc array ast base64 binascii bisect calendar cmath collections collections.abc concurrent.futures
concurrent.futures.process concurrent.futures.thread contextlib copy copyreg dataclasses datetime decimal enum fractions
functools gc graphlib heapq hashlib inspect io itertools json keyword linecache locale math numbers operator os os.path pathlib
pickle pprint queue random re secrets signal statistics string struct sys tempfile textwrap threading time timeit traceback
types typing unicodedata warnings weakref zlib
encodings.ascii encodings.hex_codec encodings.idna encodings.latin_1 encodings.raw_unicode_escape encodings.unicode_escape
encodings.utf_16 encodings.utf_32 encodings.utf_8 encodings.utf_8_sig
""".split()  # noqa: SIM905

# Shared libraries cannot be stored. Left out are those that talk to terminals, devices and networks, which no program has.
_AT_HAND += """
_bisect _blake2 _bz2 _contextvars _csv _ctypes _elementtree _hashlib _lsprof _lzma _md5 _opcode _posixsubprocess _queue _sha1
_sha2 _sha256 _sha3 _sha512 _socket _sqlite3 _statistics _typing _uuid _zoneinfo fcntl grp mmap pyexpat resource
""".split()  # noqa: SIM905

# numpy imports these when they are asked for.
_OF_PACKAGES = ("numpy.fft", "numpy.linalg", "numpy.random")


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
    """Import or store all that programs may import, then leave only the standard library on the path."""
    # First, so that what is imported fills the memory that this leaves free: scattered pages slow every fork.
    stored = StoredModules(stdlib(), sorted(sys.stdlib_module_names))
    sys.path[:] = program_path() + folders
    packages = tuple(packages)
    inner = (name for name in _OF_PACKAGES if name.partition(".")[0] in packages)
    for name in (*_AT_HAND, *packages, *inner):
        try:
            importlib.import_module(name)
        except ImportError:  # an interpreter built without sqlite3, lzma, ..., or of another version
            continue
    sys.meta_path.insert(0, stored)  # type: ignore[arg-type]
    sys.path[:] = program_path()
