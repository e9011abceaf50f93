"""The seccomp filter of the jail: an allow-list of system calls, built as classic BPF and loaded by prctl.

Invariant: a call of another architecture or of the x32 ABI kills the process; a call not on the list fails with EPERM;
signals, clocks, limits and affinities are the program's own alone; a file cannot be truncated without a right to write it
(Landlock before ABI 3 does not see O_RDONLY|O_TRUNC).

What the checked calls refuse, and why: `fcntl` locks, leases and notifications, which outlive or reach beyond a program;
`futex` without the private flag, since a wait on a page of a shared library would meet another program's wake; `mmap` of
huge pages, a pool of the whole machine; `madvise` that moves shared pages in or out of memory; `clock_gettime` of another
process's clock; `open` of a nameless new file.
Source: Linux Documentation/userspace-api/seccomp_filter.rst; struct seccomp_data.
"""

import ctypes
import errno
import os
import platform
import struct
from functools import lru_cache
from typing import Any

from sandbox.jail.syscall_numbers import ABSENT, ARCHES, CHECKED, IGNORED, PLAIN

_LD, _JEQ, _JGE, _JSET, _AND, _RET = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NR, _ARCH, _ARGS = 0, 4, 16
_X32_BIT = 0x40000000

_IOCTLS = (0x5401, 0x5413, 0x5450, 0x5451, 0x5421)  # TCGETS, TIOCGWINSZ, FIONCLEX, FIOCLEX, FIONBIO
_FCNTLS = (0, 1, 2, 3, 4, 1030)  # DUPFD, descriptor and status flags, DUPFD_CLOEXEC
_ADVICE = (4, 8, 14, 15, 102, 103)  # DONTNEED, FREE, HUGEPAGE, NOHUGEPAGE, GUARD_INSTALL, GUARD_REMOVE
_MAP_HUGETLB, _FUTEX_PRIVATE = 0x40000, 128
_LAST_CLOCK = 11  # CLOCK_TAI; the clock of another process or of a device is a negative number
_RLIMIT_STACK = 3
_GET_NO_NEW_PRIVS = 39
_O_TRUNC, _ACCESS_MODE, _O_TMPFILE = 0x200, 0x3, 0x400000
_SET_NO_NEW_PRIVS, _SET_SECCOMP, _MODE_FILTER = 38, 22, 2

# Looked up here, once, and not in every forked child. None off Linux, where the canaries refuse every level.
_prctl: Any = getattr(ctypes.CDLL(None, use_errno=True), "prctl", None)

# Stands for the pid in a filter built before the fork; no real pid is as large.
_ANY_PID = 0x7FFFFFF1


class _Program(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def supported_machine() -> bool:
    """Whether there is a table of system calls for this processor (and the interpreter is 64 bits wide)."""
    return platform.machine() in ARCHES and struct.calcsize("P") == 8


def build_filter(machine: str, own_pid: int) -> bytes:
    """Return the BPF program for `machine`, with `own_pid` as the only process that may be signalled."""
    column, audit_arch = ARCHES[machine]
    code = [_op(_LD, _ARCH), _op(_JEQ, audit_arch, 1, 0), _ret(_KILL), _op(_LD, _NR)]
    if machine == "x86_64":
        code += [_op(_JGE, _X32_BIT, 0, 1), _ret(_KILL)]
    for name, numbers in CHECKED.items():
        if numbers[column] >= 0:
            block = _argument_check(name, own_pid)
            code += [_op(_JEQ, numbers[column], 0, len(block)), *block]
    for table, number in ((ABSENT, errno.ENOSYS), (IGNORED, 0)):
        for numbers in table.values():
            code += [_op(_JEQ, numbers[column], 0, 1), _ret(_ERRNO | number)]
    plain = [numbers[column] for numbers in PLAIN.values() if numbers[column] >= 0]
    # Each comparison jumps over the rest and over the refusal, to the last instruction.
    code += [_op(_JEQ, number, len(plain) - place, 0) for place, number in enumerate(plain)]
    return b"".join([*code, _ret(_ERRNO | errno.EPERM), _ret(_ALLOW)])


@lru_cache(maxsize=1)
def _prepared() -> tuple[Any, _Program, tuple[int, ...]]:
    """The filter of this machine as the kernel takes it, its header, and the places where the program's own pid belongs."""
    code = build_filter(platform.machine(), _ANY_PID)
    buffer = ctypes.create_string_buffer(code, len(code))
    word = struct.pack("=I", _ANY_PID)
    places = tuple(place for place in range(4, len(code), 8) if code[place : place + 4] == word)
    return buffer, _Program(len(code) // 8, ctypes.addressof(buffer)), places


def prepare_filter() -> None:
    """Build the filter ahead of `load_own_filter`, in the process that forks."""
    _prepared()


def load_own_filter() -> None:
    """Put the calling thread under the filter of its process, for good. Needs no_new_privs. Raises OSError."""
    buffer, header, places = _prepared()
    pid = os.getpid()
    for place in places:
        struct.pack_into("=I", buffer, place, pid)
    _load(header)


def set_no_new_privs() -> None:
    """Give up gaining privileges by exec, for good. Raises OSError."""
    _checked(_prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS")


def load_filter(program: bytes) -> None:
    """Put the calling thread under a filter, for good. Needs no_new_privs. Raises OSError."""
    buffer = ctypes.create_string_buffer(program, len(program))
    _load(_Program(len(program) // 8, ctypes.addressof(buffer)))


def _load(header: _Program) -> None:
    _checked(_prctl(_SET_SECCOMP, _MODE_FILTER, ctypes.byref(header), 0, 0), "PR_SET_SECCOMP")


def _argument_check(name: str, own_pid: int) -> list[bytes]:
    if name in ("open", "openat"):
        flags = 1 if name == "open" else 2
        truncating = [_op(_JEQ, _O_TRUNC, 1, 0), _op(_JEQ, _O_TRUNC | _ACCESS_MODE, 0, 1), _ret(_ERRNO | errno.EPERM)]
        nameless = [_op(_JSET, _O_TMPFILE, 0, 1), _ret(_ERRNO | errno.EPERM)]
        return [_arg(flags), *nameless, _op(_AND, _O_TRUNC | _ACCESS_MODE), *truncating, _ret(_ALLOW)]
    if name == "prlimit64":
        # To raise the stack's limit is a habit of honest programs; it is said to have worked, and the limit is large already.
        new_is_null = [_arg(2), _op(_JEQ, 0, 0, 3), _arg(2, high=True), _op(_JEQ, 0, 0, 1), _ret(_ALLOW)]
        pretend = [_arg(1), _op(_JEQ, _RLIMIT_STACK, 0, 1), _ret(_ERRNO | 0), _ret(_ERRNO | errno.EPERM)]
        return [*_own_process(own_pid), *new_is_null, *pretend]
    if name == "sched_getaffinity":
        return [*_own_process(own_pid), _ret(_ALLOW)]
    if name in ("kill", "tgkill"):
        return [*_must_equal(0, own_pid), _ret(_ALLOW)]
    if name == "prctl":
        return [*_must_equal(0, _GET_NO_NEW_PRIVS), _ret(_ALLOW)]
    if name == "mmap":
        return [_arg(3), _op(_JSET, _MAP_HUGETLB, 0, 1), _ret(_ERRNO | errno.EPERM), _ret(_ALLOW)]
    if name == "futex":
        return [_arg(1), _op(_JSET, _FUTEX_PRIVATE, 1, 0), _ret(_ERRNO | errno.EPERM), _ret(_ALLOW)]
    if name.startswith("clock_"):
        return [_arg(0), _op(_JGE, _LAST_CLOCK + 1, 0, 1), _ret(_ERRNO | errno.EINVAL), _ret(_ALLOW)]
    if name == "madvise":
        return _one_of(2, _ADVICE)
    return _one_of(1, _IOCTLS if name == "ioctl" else _FCNTLS)


def _one_of(argument: int, allowed: tuple[int, ...]) -> list[bytes]:
    choices = [one for value in allowed for one in (_op(_JEQ, value, 0, 1), _ret(_ALLOW))]
    return [_arg(argument), *choices, _ret(_ERRNO | errno.EPERM)]


def _own_process(own_pid: int) -> list[bytes]:
    """Refuse where the first argument is neither 0 nor the program's own id."""
    return [_arg(0), _op(_JEQ, 0, 2, 0), _op(_JEQ, own_pid, 1, 0), _ret(_ERRNO | errno.EPERM)]


def _must_equal(argument: int, value: int, *, high: bool = False) -> list[bytes]:
    return [_arg(argument, high=high), _op(_JEQ, value, 1, 0), _ret(_ERRNO | errno.EPERM)]


def _arg(number: int, *, high: bool = False) -> bytes:
    return _op(_LD, _ARGS + 8 * number + (4 if high else 0))


def _ret(value: int) -> bytes:
    return _op(_RET, value)


def _op(code: int, k: int, jump_true: int = 0, jump_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, jump_true, jump_false, k)


def _checked(result: int, name: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
