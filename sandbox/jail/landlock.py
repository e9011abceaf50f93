"""Landlock by raw system calls: a ruleset that grants one folder, made for one run, and nothing else.

Invariant: every right that the running kernel's ABI knows is handled, so whatever is not granted is denied; TCP, abstract
unix sockets and signals to outside processes are handled too where the ABI has them (4, 6).
Source: Linux Documentation/userspace-api/landlock.rst.
"""

import ctypes
import os
from functools import lru_cache

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same numbers on x86-64 and aarch64
_VERSION_FLAG = 1
_PATH_BENEATH = 1

WRITE_FILE, READ_FILE, READ_DIR, TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 14
_ALL_OF_ABI_1 = (1 << 13) - 1
_REFER, _IOCTL_DEV = 1 << 13, 1 << 15

_syscall = ctypes.CDLL(None, use_errno=True).syscall


class _RulesetAttr(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64), ("handled_access_net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneathAttr(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def abi() -> int:
    """The kernel's Landlock ABI; 0 where it has none or it is switched off."""
    return max(0, _syscall(_CREATE, None, ctypes.c_size_t(0), _VERSION_FLAG))


@lru_cache(maxsize=1)
def _ruleset() -> tuple[_RulesetAttr, int, int]:
    """The ruleset's attributes, their size for this kernel, and the rights to grant."""
    version = abi()
    attr = _RulesetAttr(handled_rights(version), 0b11 if version >= 4 else 0, 0b11 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    return attr, size, READ_FILE | READ_DIR | WRITE_FILE | (TRUNCATE if version >= 3 else 0)


def prepare() -> None:
    """Ask the kernel what it knows ahead of `restrict_to`, in the process that forks."""
    _ruleset()


def handled_rights(version: int) -> int:
    """All file rights that ABI `version` can handle."""
    return (
        _ALL_OF_ABI_1 | (_REFER if version >= 2 else 0) | (TRUNCATE if version >= 3 else 0) | (_IOCTL_DEV if version >= 5 else 0)
    )


def restrict_to(folder: str) -> None:
    """Leave the calling thread one folder, in which files can be read, written and listed and none be made; for good.

    Needs no_new_privs. Raises OSError where the kernel refuses.
    """
    attr, size, rights = _ruleset()
    ruleset = _checked(_syscall(_CREATE, ctypes.byref(attr), ctypes.c_size_t(size), 0), "landlock_create_ruleset")
    try:
        _grant(ruleset, folder, rights)
        _checked(_syscall(_RESTRICT, ruleset, 0), "landlock_restrict_self")
    finally:
        os.close(ruleset)


def _grant(ruleset: int, path: str, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = _PathBeneathAttr(rights, descriptor)
        _checked(_syscall(_ADD, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0), f"landlock_add_rule {path}")
    finally:
        os.close(descriptor)


def _checked(result: int, name: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result
