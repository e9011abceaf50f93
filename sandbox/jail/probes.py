"""The canary program: small break-out attempts that a jail must stop.

Invariant: it runs as model-written code does, in the jail, never in the trusted process.

Each probe answers "stopped", or says what it managed to do. `write_result` must work.
"""

import _thread
import ctypes
import fcntl
import os
import resource
import signal
import socket
import time
from pathlib import Path

libc = ctypes.CDLL(None, use_errno=True)


def become_root(secret):
    if 0 in (os.getuid(), os.geteuid(), os.getgid(), os.getegid()):
        return "runs as root"
    os.setresuid(0, 0, 0)
    return "became root"


def gain_privileges(secret):
    return "stopped" if libc.prctl(39, 0, 0, 0, 0) == 1 else "no_new_privs is not set"


def raise_limits(secret):
    for name in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC):
        if resource.getrlimit(name)[1] == resource.RLIM_INFINITY:
            return "a limit is missing"
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 40, 1 << 40))
    return "raised a limit"


def take_memory(secret):
    limit = resource.getrlimit(resource.RLIMIT_AS)[1]
    return f"took {len(bytearray(limit + 1))} bytes"


def fork(secret):
    if os.fork() == 0:
        os._exit(0)
    return "forked"


def read_secret(secret):
    return f"read {len(Path(secret).read_bytes())} bytes"


def list_secret(secret):
    return f"listed {len(list(Path(secret).parent.iterdir()))} names"


def create_file(secret):
    done = []
    for folder in (".", "/tmp", "/dev/shm", str(Path(secret).parent)):
        try:
            new = Path(folder, f"vgrout-canary-{os.getpid()}-{os.urandom(4).hex()}")
            new.touch(exist_ok=False)
            done.append(folder)
            new.unlink()
        except OSError:
            continue
    return f"created files in {done}" if done else "stopped"


def truncate_secret(secret):
    os.close(os.open(secret, os.O_RDONLY | os.O_TRUNC))
    return "truncated a file"


def link_result(secret):
    os.link("result.txt", "vgrout-canary-link")
    return "made a link"


def open_socket(secret):
    done = []
    for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK):
        try:
            socket.socket(family, socket.SOCK_DGRAM).close()
            done.append(family.name)
        except OSError:
            continue
    return f"opened {done}" if done else "stopped"


def execute(secret):
    os.execve("/nonexistent", ["x"], {})
    return "executed"


def trace_parent(secret):
    return _denied(libc.ptrace(16, os.getppid(), 0, 0), "traced the parent")


def signal_parent(secret):
    os.kill(os.getppid(), signal.SIG_DFL)
    return "signalled the parent"


def unshare(secret):
    return _denied(libc.unshare(0x10000000), "made a user namespace")


def thread(secret):
    try:
        _thread.start_new_thread(int, ())
    except RuntimeError:
        return "stopped"
    return "started a thread"


def memfd(secret):
    return _denied(libc.memfd_create(b"canary", 0), "made an anonymous file")


def pipe(secret):
    return _denied(libc.pipe(ctypes.create_string_buffer(8)), "made a pipe")


def lock(secret):
    fcntl.flock(0, fcntl.LOCK_EX)
    return "took a lock"


def foreign_clock(secret):
    return f"read the parent's clock: {time.clock_gettime(~os.getppid() << 3 | 2)}"


def wake_others(secret):
    code = (ctypes.cast(libc.getpid, ctypes.c_void_p).value or 0) & ~3
    number = {"x86_64": 202, "aarch64": 98}[os.uname().machine]
    return _denied(libc.syscall(number, ctypes.c_void_p(code), 1, 1), "woke waiters on a shared page")


def write_result(secret):
    Path("result.txt").write_text("canary")
    return "worked" if Path("result.txt").read_text() == "canary" else "the text did not stay"


def _denied(result, text):
    number = ctypes.get_errno()
    # EPERM: the filter said no. Anything else (ENOENT, ESRCH, EFAULT) would mean that the call went through to the kernel.
    return "stopped" if result == -1 and number == 1 else f"{text} (result {result}, errno {number})"


class Solution:
    def probe(self, name, secret):
        try:
            return globals()[name](secret)
        except (PermissionError, BlockingIOError, MemoryError):
            # EAGAIN is how a process limit says no.
            return "stopped"
        except FileNotFoundError as error:
            # After chroot, or in a mount namespace, the secret has no name at all.
            return "stopped" if name.endswith("_secret") else f"FileNotFoundError: {error}"
        except (OSError, ValueError) as error:
            # What Python makes of EPERM where it sets a limit; what the kernel says of a clock that the filter refuses.
            if (name, type(error)) in (("raise_limits", ValueError), ("foreign_clock", OSError)):
                return "stopped"
            return f"{type(error).__name__}: {error}"
