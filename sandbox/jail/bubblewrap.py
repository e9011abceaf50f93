"""The bubblewrap command line for level L3: namespaces around the zygote, the Python runtime read-only, nothing else.

Invariant: inside there is no network interface but an unused loopback, no process of the host, and no file of it but the
runtime, this package and the zygote's scratch folder.
"""

import os
import shutil
import sys
from pathlib import Path

from sandbox.jail import runtime


def find_bubblewrap() -> str | None:
    """Path of bwrap, or None where it is not installed."""
    return shutil.which("bwrap", path=os.environ.get("PATH", os.defpath))


def bubblewrap_prefix(scratch: Path, zygote: Path) -> list[str]:
    """The words before the interpreter. Raises OSError where bwrap is not installed."""
    program = find_bubblewrap()
    if program is None:
        raise FileNotFoundError("bwrap (bubblewrap) is not installed")
    package = zygote.parent
    readable = [Path(os.path.realpath(sys.executable)), *runtime.readable_paths(), *_libraries(), package]
    command = [program, "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    if os.geteuid() == 0:
        # Root needs no user namespace, and without one a child can still become `nobody`.
        command += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_DAC_READ_SEARCH"]
        command += ["--cap-add", "CAP_KILL"]
    else:
        command += ["--unshare-user"]
    command += ["--new-session", "--tmpfs", "/tmp", "--proc", "/proc", "--dev", "/dev"]
    for path in dict.fromkeys(readable):
        command += ["--ro-bind", str(path), str(path)]
    for link in ("/lib", "/lib64", "/usr/lib64", "/bin"):
        if Path(link).is_symlink():
            command += ["--symlink", str(Path(link).readlink()), link]
    return [*command, "--bind", str(scratch), str(scratch), "--"]


def _libraries() -> list[Path]:
    """Folders that hold the dynamic linker, where they are real folders."""
    return [path for path in (Path("/lib64"), Path("/usr/lib64")) if path.is_dir() and not path.is_symlink()]
