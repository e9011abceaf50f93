"""The system calls that jailed Python may make, with their numbers on x86-64 and aarch64 and the reason why each is let through.

Invariant: no call here creates a process or a file, executes, opens a socket, pipe or anonymous file, traces, mounts, locks,
changes limits or identity, maps memory that others can map, or reads a counter of the whole machine. What a call can
change is the program's own and ends with it. A number of -1 says that the architecture has no such call.
Source: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h of Linux 6.x.
"""

# Reason -> calls. Every descriptor that a program holds was made for its run: three pipes, the result file, its folder.
_REASONS: tuple[tuple[str, dict[str, tuple[int, int]]], ...] = (
    (
        "acts on the program's own descriptors, which no other program has",
        {
            "read": (0, 63),
            "write": (1, 64),
            "readv": (19, 65),
            "writev": (20, 66),
            "pread64": (17, 67),
            "pwrite64": (18, 68),
            "close": (3, 57),
            "close_range": (436, 436),
            "lseek": (8, 62),
            "fstat": (5, 80),
            "getdents64": (217, 61),
            "ftruncate": (77, 46),
            "fchdir": (81, 50),
            "dup": (32, 23),
            "dup2": (33, -1),
            "dup3": (292, 24),
            "poll": (7, -1),
            "ppoll": (271, 73),
            "select": (23, -1),
            "pselect6": (270, 72),
        },
    ),
    (
        "looks at names: the run's folder after chroot, a read-only view at L3, public names elsewhere (docs/security.md says "
        "what is left: access times of symbolic links)",
        {
            "newfstatat": (262, 79),
            "statx": (332, 291),
            "stat": (4, -1),
            "lstat": (6, -1),
            "access": (21, -1),
            "faccessat": (269, 48),
            "faccessat2": (439, 439),
            "readlink": (89, -1),
            "readlinkat": (267, 78),
            "getcwd": (79, 17),
            "chdir": (80, 49),
        },
    ),
    (
        "memory of the program alone; RLIMIT_AS bounds it (mmap, madvise and futex have checked arguments, below)",
        {
            "mprotect": (10, 226),
            "munmap": (11, 215),
            "mremap": (25, 216),
            "brk": (12, 214),
        },
    ),
    (
        "the one thread of the program: registration and end (a second one would draw a process number, which others can count)",
        {
            "set_robust_list": (273, 99),
            "rseq": (334, 293),
            "gettid": (186, 178),
            "sched_yield": (24, 124),
            "exit": (60, 93),
            "exit_group": (231, 94),
            "restart_syscall": (219, 128),
        },
    ),
    (
        "signals of the program to itself",
        {
            "rt_sigaction": (13, 134),
            "rt_sigprocmask": (14, 135),
            "rt_sigreturn": (15, 139),
            "rt_sigpending": (127, 136),
            "rt_sigtimedwait": (128, 137),
            "rt_sigsuspend": (130, 133),
            "sigaltstack": (131, 132),
            "pause": (34, -1),
        },
    ),
    (
        "clocks and timers: time itself cannot be hidden from a program",
        {
            "getitimer": (36, 102),
            "setitimer": (38, 103),
            "alarm": (37, -1),
            "nanosleep": (35, 101),
            "gettimeofday": (96, 169),
            "time": (201, -1),
            "times": (100, 153),
            "getrusage": (98, 165),
        },
    ),
    (
        "facts about the program or the machine that no program can change",
        {
            "getpid": (39, 172),
            "getppid": (110, 173),
            "getpgrp": (111, -1),
            "getuid": (102, 174),
            "geteuid": (107, 175),
            "getgid": (104, 176),
            "getegid": (108, 177),
            "getgroups": (115, 158),
            "getresuid": (118, 148),
            "getresgid": (120, 150),
            "getrlimit": (97, 163),
            "uname": (63, 160),
            "getrandom": (318, 278),
            "umask": (95, 166),
        },
    ),
)

PLAIN: dict[str, tuple[int, int]] = {name: numbers for _, calls in _REASONS for name, numbers in calls.items()}

# Allowed for certain arguments only; sandbox.jail.seccomp says which and why.
CHECKED: dict[str, tuple[int, int]] = {
    "openat": (257, 56),
    "open": (2, -1),
    "mmap": (9, 222),
    "madvise": (28, 233),
    "futex": (202, 98),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "sched_getaffinity": (204, 123),
    "ioctl": (16, 29),
    "fcntl": (72, 25),
    "prctl": (157, 167),
    "prlimit64": (302, 261),
    "kill": (62, 129),
    "tgkill": (234, 131),
}

# Answered with ENOSYS rather than EPERM, so that libc falls back to (the denied) clone and reports it.
ABSENT: dict[str, tuple[int, int]] = {"clone3": (435, 435)}

# Answered with success and not carried out: honest programs call them, and to flush a shared disk is to be heard.
IGNORED: dict[str, tuple[int, int]] = {"fsync": (74, 82), "fdatasync": (75, 83)}

# AUDIT_ARCH_X86_64, AUDIT_ARCH_AARCH64
ARCHES: dict[str, tuple[int, int]] = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
