"""The bubblewrap command line for level L3: namespaces around the zygote, the Python runtime read-only, nothing else.

Invariant: inside there is no network interface but an unused loopback, no process of the host, no /proc, and no file of the
host but the runtime, this package and the zygote's scratch folder; all but the scratch folder is mounted read-only, so that
looking at a name changes no time stamp.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from sandbox.jail import runtime


def find_bubblewrap() -> str | None:
    """Path of bwrap, or None where it is not installed."""
    return shutil.which("bwrap", path=os.environ.get("PATH", os.defpath))


def bubblewrap_prefix(scratch: Path, zygote: Path, folders: Sequence[str] = ()) -> list[str]:
    """The words before the interpreter. `folders` hold the third-party packages. Raises OSError where bwrap is not installed."""
    program = find_bubblewrap()
    if program is None:
        raise FileNotFoundError("bwrap (bubblewrap) is not installed")
    package = zygote.parent
    readable = [Path(os.path.realpath(sys.executable)), *runtime.readable_paths(), *_libraries(), package, *map(Path, folders)]
    command = [program, "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    if os.geteuid() == 0:
        # Root needs no user namespace, and without one a child can still become another user.
        command += ["--cap-drop", "ALL"]
        for capability in ("SETUID", "SETGID", "SYS_CHROOT", "DAC_READ_SEARCH", "KILL"):
            command += ["--cap-add", f"CAP_{capability}"]
    else:
        command += ["--unshare-user"]
    command += ["--new-session", "--tmpfs", "/tmp", "--dev", "/dev"]
    for path in dict.fromkeys(readable):
        command += ["--ro-bind", str(path), str(path)]
    for link in ("/lib", "/lib64", "/usr/lib64", "/bin"):
        if Path(link).is_symlink():
            command += ["--symlink", str(Path(link).readlink()), link]
    command += ["--bind", str(scratch), str(scratch)]
    for made in ("/tmp", "/dev", "/"):
        command += ["--remount-ro", made]
    return [*command, "--"]


def _libraries() -> list[Path]:
    """Folders that hold the dynamic linker, where they are real folders."""
    return [path for path in (Path("/lib64"), Path("/usr/lib64")) if path.is_dir() and not path.is_symlink()]
