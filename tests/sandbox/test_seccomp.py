"""The seccomp filter decides as its docstring says, on both processors, and its numbers are the kernel headers' own."""

import errno
import re
from pathlib import Path

import pytest
from bpf_machine import ALLOW, ERRNO, KILL, decide

from sandbox.jail.seccomp import build_filter
from sandbox.jail.syscall_numbers import ABSENT, ARCHES, CHECKED, IGNORED, PLAIN

HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
OWN = 4242
EPERM = ERRNO | errno.EPERM
# What must never be allowed, by name; numbers come from the headers.
FORBIDDEN = """
clone fork vfork execve execveat socket socketpair connect bind ptrace process_vm_readv process_vm_writev
pidfd_open pidfd_getfd pidfd_send_signal kexec_load mount umount2 pivot_root chroot unshare setns bpf
perf_event_open userfaultfd io_uring_setup io_uring_enter keyctl add_key request_key memfd_create memfd_secret
shmget msgget semget mq_open setuid setgid setresuid setgroups capset setrlimit seccomp personality
init_module finit_module delete_module reboot swapon mkdir mkdirat mknod mknodat symlink symlinkat link linkat
rename renameat renameat2 unlink unlinkat chmod fchmod fchmodat chown fchown fchownat truncate setxattr
open_by_handle_at name_to_handle_at open_tree move_mount fsopen tkill rt_sigqueueinfo rt_tgsigqueueinfo
sched_setaffinity sched_setscheduler setpriority setsid setpgid quotactl acct syslog inotify_init1
fanotify_init landlock_create_ruleset landlock_restrict_self process_madvise process_mrelease mbind
migrate_pages move_pages iopl ioperm modify_ldt arch_prctl vmsplice splice tee sendfile copy_file_range
fallocate openat2 mlock mlock2 mlockall timer_create timerfd_create eventfd2 signalfd4 epoll_create1 clone3
sendmsg recvmsg accept4 wait4 waitid kcmp lookup_dcookie sync syncfs
flock fadvise64 mincore statfs fstatfs sysinfo membarrier msync pipe pipe2 getpgid getsid getcpu rmdir set_tid_address
sched_getparam sched_getattr getpriority ioprio_get ioprio_set readahead sync_file_range get_mempolicy set_mempolicy
""".split()  # noqa: SIM905


def header_numbers(machine: str) -> dict[str, int]:
    path = HEADERS[machine]
    if not path.is_file():
        pytest.skip(f"no kernel headers for {machine} on this machine")
    found = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", path.read_text()))
    names = {name: int(number) for name, number in found.items()}
    names.setdefault("newfstatat", names.get("fstatat", -1))  # the generic header's name for it
    return names


@pytest.mark.parametrize("machine", ARCHES)
def test_numbers_are_those_of_the_kernel_headers(machine: str) -> None:
    real, column = header_numbers(machine), ARCHES[machine][0]
    for name, numbers in (PLAIN | CHECKED | ABSENT | IGNORED).items():
        if numbers[column] < 0:
            assert machine == "aarch64" and name not in real, name
        else:
            assert real[name] == numbers[column], name


@pytest.mark.parametrize("machine", ARCHES)
def test_nothing_forbidden_is_allowed(machine: str) -> None:
    real, (_, arch) = header_numbers(machine), ARCHES[machine]
    program = build_filter(machine, OWN)
    known = [name for name in FORBIDDEN if name in real]
    assert len(known) > 100
    for name in known:
        assert decide(program, arch, real[name]) in (EPERM, ERRNO | errno.ENOSYS), name


@pytest.mark.parametrize("machine", ARCHES)
def test_exactly_the_listed_calls_are_allowed(machine: str) -> None:
    column, arch = ARCHES[machine]
    program = build_filter(machine, OWN)
    allowed = {number for number in range(1024) if decide(program, arch, number, (1 << 31,) * 6) == ALLOW}
    assert allowed == {numbers[column] for numbers in PLAIN.values()} - {-1} | _lenient(column)
    ignored = {number for number in range(1024) if decide(program, arch, number, (1 << 31,) * 6) == ERRNO}
    assert ignored == {numbers[column] for numbers in IGNORED.values()}


def _lenient(column: int) -> set[int]:
    """The checked calls whose check passes arguments of 1 << 31: no truncating flag, no huge pages."""
    return {CHECKED[name][column] for name in ("open", "openat", "mmap")} - {-1}


@pytest.mark.parametrize("machine", ARCHES)
def test_arguments_decide_where_they_should(machine: str) -> None:
    column, arch = ARCHES[machine]
    program = build_filter(machine, OWN)

    def ask(name: str, *arguments: int) -> int:
        return decide(program, arch, CHECKED[name][column], arguments)

    assert ask("kill", OWN, 9) == ask("tgkill", OWN, OWN, 6) == ALLOW
    for other in (0, 1, OWN + 1, 2**32 - 1):
        assert ask("kill", other, 0) == ask("tgkill", other, other, 0) == EPERM
    assert ask("prlimit64", 0, 7, 0, 0x7000) == ask("prlimit64", OWN, 7, 0, 0x7000) == ALLOW
    assert ask("prlimit64", 0, 7, 0x7000, 0) == ask("prlimit64", 0, 7, 1 << 40, 0) == EPERM
    assert ask("prlimit64", 0, 3, 0x7000, 0) == ERRNO, "the stack's limit is said to be set, and is not"
    assert ask("prlimit64", OWN + 1, 7, 0, 0x7000) == ask("sched_getaffinity", OWN + 1) == EPERM
    assert ask("sched_getaffinity", 0) == ask("sched_getaffinity", OWN) == ALLOW
    assert ask("prctl", 39) == ALLOW
    assert ask("prctl", 1) == ask("prctl", 22) == ask("prctl", 38) == EPERM
    assert ask("fcntl", 3, 2) == ALLOW
    for command in (5, 6, 7, 8, 10, 36, 37, 38, 1024, 1025, 1026, 1031, 1033):
        assert ask("fcntl", 3, command) == EPERM, f"fcntl {command}: a lock, an owner, a lease, a notification, a size or a seal"
    assert ask("ioctl", 1, 0x5401) == ALLOW
    assert ask("ioctl", 1, 0x5412) == EPERM  # TIOCSTI
    for flags in (0, 1, 2, 0x241, 0x242):
        assert ask("openat", 0, 0, flags) == ALLOW
    for flags in (0x200, 0x203, 0x400002, 0x410002):
        assert ask("openat", 0, 0, flags) == EPERM
    for advice in (0, 1, 2, 3, 9, 12, 20, 21, 22, 23):
        assert ask("madvise", 0, 4096, advice) == EPERM, "advice that moves pages which others share"
    assert ask("madvise", 0, 4096, 4) == ALLOW
    assert ask("mmap", 0, 4096, 3, 0x22) == ALLOW
    assert ask("mmap", 0, 4096, 3, 0x40022) == EPERM
    for operation in (0, 1, 9, 10, 256):
        assert ask("futex", 0, operation) == EPERM
        assert ask("futex", 0, operation | 128) == ALLOW
    for call in ("clock_gettime", "clock_getres", "clock_nanosleep"):
        assert ask(call, 0) == ask(call, 11) == ALLOW
        assert ask(call, 2**32 - 6) == ask(call, 12) == ERRNO | errno.EINVAL, "a clock of another process or device"


def test_foreign_architectures_and_x32_are_killed() -> None:
    for machine, (_, arch) in ARCHES.items():
        program = build_filter(machine, OWN)
        for other in (0, 0x40000003, *(one for _, one in ARCHES.values() if one != arch)):
            assert decide(program, other, 0) == KILL
    program = build_filter("x86_64", OWN)
    for number in (0x40000000, 0x40000000 | 41, 0xFFFFFFFF):
        assert decide(program, ARCHES["x86_64"][1], number) == KILL
