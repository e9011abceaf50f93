"""Which parts of the file system jailed Python may read: the standard library and the system's shared libraries.

Invariant: no site-packages, no source of this project, no data set, nothing of /etc but the linker's cache.
"""

import sys
import sysconfig
from pathlib import Path

# Imported once in the zygote, so that programs find them even where the unprivileged user cannot read the interpreter's
# folder (an interpreter under root's home, as uv and pyenv install it).
_NAMES = """
abc array ast base64 binascii bisect builtins bz2 calendar cmath codecs collections collections.abc colorsys concurrent.futures
contextlib contextvars copy copyreg csv ctypes dataclasses datetime decimal difflib dis doctest enum fnmatch fractions functools
gc getpass glob gzip hashlib heapq hmac html importlib inspect io ipaddress itertools json keyword linecache locale logging lzma
marshal math numbers opcode operator os pathlib pickle platform pprint profile queue random re reprlib sched secrets select
selectors shlex shutil signal socket sqlite3 stat statistics string stringprep struct subprocess symtable sys tempfile textwrap
threading time timeit token tokenize traceback types typing unicodedata unittest unittest.mock urllib.parse uuid warnings weakref
zipfile zlib zoneinfo encodings.ascii encodings.latin_1 encodings.utf_8 encodings.utf_8_sig encodings.utf_16 encodings.utf_32
encodings.idna encodings.hex_codec encodings.unicode_escape encodings.raw_unicode_escape
"""
PRELOADED = tuple(_NAMES.split())


def stdlib() -> Path:
    """The folder of the running interpreter's standard library."""
    return Path(sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix, "base": sys.base_prefix})).resolve()


def readable_paths() -> list[Path]:
    """Existing trees and files that jailed code may read, third-party packages left out."""
    entries = [entry for entry in stdlib().iterdir() if entry.name not in ("site-packages", "dist-packages")]
    base = Path(sys.base_prefix)
    multiarch = sysconfig.get_config_var("MULTIARCH")
    places = [Path("/lib64"), Path("/usr/lib64"), Path("/etc/ld.so.cache")]
    places += [Path(root, multiarch) for root in ("/lib", "/usr/lib") if multiarch]
    places += [library for folder in ("lib", "lib64") for library in (base / folder).glob("*.so*")]
    return sorted({path.resolve() for path in [*entries, *places] if path.exists()})


def program_path() -> list[str]:
    """sys.path for model-written code: the standard library alone."""
    return [str(stdlib()), str(stdlib() / "lib-dynload")]
