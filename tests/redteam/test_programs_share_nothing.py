"""A red team that draws its programs: a sender does whatever a program may do, or nothing, and a later or parallel program tells which.

For every pair, the receiver prints everything that it can look at. A feature whose value tells the sender's bit in all
trials of two rounds is a channel: with chance alone, that has a probability of about 2**-20 for each feature.
"""
# ruff: noqa: E501 (programs are quoted as they are)

import json
import random
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.jail import canaries
from sandbox.jail.canaries import prove
from sandbox.jail.levels import Limits
from sandbox.jail.program import Program, Task
from sandbox.jail.runner import Runner
from vgrout.errors import UserError

TRIALS = 12

# What a sender may try: by files, descriptors, locks, time stamps, processes, memory, signals and limits.
OPERATIONS = {
    "write_result": "open('result.txt', 'w').write('x' * 1000)",
    "read_result": "open('result.txt').read()",
    "result_times": "os.utime('result.txt', (1, 1))",
    "result_mode": "os.chmod('result.txt', 0o777)",
    "result_grow": "os.truncate(os.open('result.txt', os.O_RDWR), 1 << 20)",
    "result_remove": "libc.unlink(b'result.txt')",
    "result_rename": "libc.rename(b'result.txt', b'other.txt')",
    "make_file": "libc.open(b'made.txt', 0o102, 0o666)",
    "make_file_tmp": "libc.open(b'/tmp/vgrout-covert', 0o102, 0o666)",
    "make_folder": "libc.mkdir(b'made', 0o777)",
    "make_nameless": "libc.open(b'.', 0o20000000 | 2, 0o600)",
    "list_here": "os.listdir('.')",
    "list_above": "os.listdir('..')",
    "list_root": "os.listdir('/')",
    "flock_descriptors": "[fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB) for fd in range(5)]",
    "posix_locks": "[fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB, 10, 1000) for fd in (0, 3)]",
    "lock_result": "keep.append(open('result.txt', 'r+')) or fcntl.flock(keep[-1], fcntl.LOCK_EX)",
    "lease": "fcntl.fcntl(3, 1024, 1)",
    "status_flags": "[fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK | os.O_APPEND) for fd in range(4)]",
    "owner": "[fcntl.fcntl(fd, 8, os.getppid()) for fd in range(4)]",
    "pipe_size": "[fcntl.fcntl(fd, 1031, 4096) for fd in range(3)]",
    "seek": "[os.lseek(fd, 777, 0) for fd in (0, 3)]",
    "new_pipes": "[keep.append(os.pipe()) for _ in range(20)]",
    "memfds": "[keep.append(os.memfd_create('x')) for _ in range(20)]",
    "duplicates": "[keep.append(os.dup(1)) for _ in range(20)]",
    "threads": "[_thread.start_new_thread(int, ()) for _ in range(10)]",
    "raw_threads": "[libc.clone(ctypes.c_void_p(0), ctypes.c_void_p(0), 0x3d0f00, 0) for _ in range(5)]",
    "forks": "[os.fork() or os._exit(0) for _ in range(5)]",
    "memory": "keep.append(bytearray(64 << 20))",
    "huge_pages": "libc.mmap(0, 2 << 20, 3, 0x40022, -1, 0)",
    "advise": "[libc.madvise(ctypes.c_void_p(ctypes.cast(libc.getpid, ctypes.c_void_p).value & ~4095), 4096, a) for a in range(25)]",
    "futex_wake": "libc.syscall(202, ctypes.c_void_p(ctypes.cast(libc.getpid, ctypes.c_void_p).value & ~3), 1, 100)",
    "signals_to_self": "[libc.kill(os.getpid(), 40) for _ in range(100)]",
    "signals_to_others": "[os.kill(pid, 0) for pid in (1, os.getppid(), -1)]",
    "limits": "[resource.setrlimit(name, (10, 10)) for name in (7, 11, 12)]",
    "nice": "os.nice(5)",
    "affinity": "os.sched_setaffinity(0, {0})",
    "umask": "os.umask(0)",
    "change_folder": "os.chdir('/')",
    "links": "[os.readlink(p) for p in ('/bin', '/lib64', '/proc/self', '/proc/mounts', '/dev/fd')]",
    "follow_links": "[os.path.exists(p) for p in ('/bin/sh', '/lib64/x', '/proc/self/status', '/proc/1/fd/0', '/dev/stdin')]",
    "timer": "signal.setitimer(signal.ITIMER_REAL, 1000)",
    "sync": "[os.fsync(fd) for fd in (1, 3)]",
    "shared_memory": "[libc.shmget(0x1234, 4096, 0o1666), libc.semget(0x1234, 1, 0o1666), libc.msgget(0x1234, 0o1666)]",
    "key": "libc.syscall(248, b'user', b'x', b'y', 1, -4)",
    "sockets": "keep.append(__import__('socket').socket())",
    "name": "libc.prctl(15, b'covert', 0, 0, 0)",
}
# On x86-64 also: what the access times of links tell an ordinary user at L2 is documented and measured there (docs/security.md).

# The real functions of the system, not those that the child patches.
_REAL = "import _io, posix\nopen = _io.open\nos.stat, os.lstat, os.open, os.unlink = posix.stat, posix.lstat, posix.open, posix.unlink\n"
_HEAD = (
    "import _thread, ctypes, fcntl, json, os, resource, signal, sys, time\nlibc = ctypes.CDLL(None, use_errno=True)\nkeep = []\nsignal.signal(40, signal.SIG_IGN)\n"
    + _REAL
)

RECEIVER = (
    _HEAD
    + """
seen = {}
def look(name, what):
    try:
        seen[name] = what()
    except BaseException as error:
        seen[name] = f"{type(error).__name__} {getattr(error, 'errno', '')}"
def stats(status):
    return {k: getattr(status, k) for k in dir(status) if k.startswith('st_') and not (k in ('st_dev',))}
for path in ('.', '..', '/', 'result.txt', '/tmp', '/tmp/vgrout-covert', '/bin', '/lib64', '/proc/self', '/proc/mounts', '/dev/null', '/dev/fd', 'made', 'made.txt'):
    look('stat ' + path, lambda: stats(os.stat(path)))
    look('lstat ' + path, lambda: stats(os.lstat(path)))
for fd in range(6):
    look(f'fstat {fd}', lambda: stats(os.fstat(fd)))
    look(f'flags {fd}', lambda: fcntl.fcntl(fd, fcntl.F_GETFL))
    look(f'at {fd}', lambda: os.lseek(fd, 0, 1))
    look(f'flock {fd}', lambda: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB))
    look(f'lock {fd}', lambda: fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 1000))
    look(f'pipe size {fd}', lambda: fcntl.fcntl(fd, 1032))
look('list', lambda: os.listdir('.'))
look('list above', lambda: os.listdir('..'))
look('result', lambda: open('result.txt').read())
look('pid', os.getpid)
look('parent', os.getppid)
look('affinity', lambda: sorted(os.sched_getaffinity(0)))
look('umask', lambda: os.umask(0o77))
look('nice', lambda: os.getpriority(0, 0))
look('blocked', lambda: [int(s) for s in signal.pthread_sigmask(signal.SIG_BLOCK, [])])
look('pending', lambda: [int(s) for s in signal.sigpending()])
look('timer', lambda: signal.getitimer(signal.ITIMER_REAL))
look('rt signal', lambda: libc.kill(os.getpid(), 40))
look('space', lambda: os.statvfs('.'))
look('machine', lambda: libc.sysinfo(ctypes.create_string_buffer(200)))
look('parent clock', lambda: time.clock_gettime(~os.getppid() << 3 | 2))
look('shared memory', lambda: [libc.shmget(0x1234, 4096, 0), libc.semget(0x1234, 1, 0), libc.msgget(0x1234, 0)])
look('thread number', lambda: libc.clone(None, None, 0x3d0f00, None))
look('wake', lambda: libc.syscall(202, ctypes.c_void_p(ctypes.cast(libc.getpid, ctypes.c_void_p).value & ~3), 1, 100))
look('new file', lambda: stats(os.stat(os.open('made.txt', os.O_CREAT))))
for name in range(16):
    look(f'limit {name}', lambda: resource.getrlimit(name))
flat = {}
for name, value in seen.items():
    if isinstance(value, dict):
        flat.update({f'{name} {k}': v for k, v in value.items()})
    else:
        flat[name] = value
print(json.dumps(flat, default=str))
"""
)


def sender(operations: tuple[str, ...], linger_s: float) -> str:
    lines = "".join(f"try:\n    {OPERATIONS[name]}\nexcept BaseException:\n    pass\n" for name in operations)
    return f"{_HEAD}{lines}time.sleep({linger_s})\n"


def run(runner: Runner, source: str) -> str:
    program = Program(Task.SOLVE, compile("", "<setup>", "exec"), (source,), "solve")
    return runner.run(program, lambda _: None).stdout.decode()


def features(said: str) -> dict[str, str]:
    return {name: json.dumps(value) for name, value in json.loads(said.splitlines()[-1]).items()}


def tells(bits: list[int], values: list[str]) -> bool:
    """Whether the values tell the bits apart in all trials: no value with both bits, or a threshold between numbers."""
    by_value: dict[str, set[int]] = {}
    for bit, value in zip(bits, values, strict=True):
        by_value.setdefault(value, set()).add(bit)
    if all(len(found) == 1 for found in by_value.values()) and len(by_value) <= len(bits) // 2:
        return len(set(bits)) > 1
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        return False
    low, high = ([number for bit, number in zip(bits, numbers, strict=True) if bit == wanted] for wanted in (0, 1))
    return max(low) < min(high) or max(high) < min(low)


def channels(trial: Callable[[int], str]) -> set[str]:
    """Features that tell the bit in two rounds of trials."""
    suspects: set[str] | None = None
    for _ in range(2):
        bits = [0, 1] * (TRIALS // 2)
        random.Random(7).shuffle(bits)
        rows = [features(trial(bit)) for bit in bits]
        names = set(rows[0]) | set(rows[-1])
        found = {name for name in names if tells(bits, [row.get(name, "") for row in rows])}
        suspects = found if suspects is None else suspects & found
        if not suspects:
            return set()
    return suspects or set()


def later(runner: Runner, operations: tuple[str, ...]) -> Callable[[int], str]:
    def trial(bit: int) -> str:
        run(runner, sender(operations if bit else (), 0.0))
        return run(runner, RECEIVER)

    return trial


def beside(runner: Runner, other: Runner, operations: tuple[str, ...]) -> Callable[[int], str]:
    def trial(bit: int) -> str:
        busy = threading.Thread(target=run, args=(other, sender(operations if bit else (), 0.15)))
        busy.start()
        time.sleep(0.07)
        said = run(runner, RECEIVER)
        busy.join()
        return said

    return trial


@pytest.fixture(scope="module", params=["L2", "L3"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Runner, Runner]]:
    try:
        made = prove(request.param, Limits()), prove(request.param, Limits())
    except UserError as error:
        pytest.skip(f"no {request.param} here: {error.found}")
    yield made
    for one in made:
        one.close()


def test_nothing_that_a_program_does_is_seen_by_the_next_one(pair: tuple[Runner, Runner]) -> None:
    assert channels(later(pair[0], tuple(OPERATIONS))) == set()


def test_nothing_that_a_program_does_is_seen_by_one_beside_it(pair: tuple[Runner, Runner]) -> None:
    assert channels(beside(*pair, tuple(OPERATIONS))) == set()


@pytest.mark.slow
def test_no_drawn_sender_is_heard(pair: tuple[Runner, Runner]) -> None:
    """Subsets and orders of the operations: one may undo what another did."""

    @settings(max_examples=20, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.sampled_from(sorted(OPERATIONS)), min_size=1, max_size=12).map(tuple))
    def drawn(operations: tuple[str, ...]) -> None:
        assert channels(later(pair[0], operations)) == set()
        assert channels(beside(*pair, operations)) == set()

    drawn()


def test_a_planted_channel_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs in one folder: the receiver sees what the sender wrote, so the tests above are able to fail."""

    class OneFolder(Runner):
        def _make_run(self):
            self.made = getattr(self, "made", None) or super()._make_run()
            return self.made

    monkeypatch.setattr(canaries, "Runner", OneFolder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sandbox.jail.runner._remove", lambda folder: None)
        runner = prove("L2", Limits())

        def trial(bit: int) -> str:
            run(runner, f"open('result.txt', 'w').write('x' * {1 + 99 * bit})")
            return run(runner, RECEIVER)

        found = channels(trial)
    runner.close()
    assert {"stat result.txt st_size", "result"} <= found


def test_the_detector_tells_chance_from_a_channel() -> None:
    bits = [0, 1] * 6
    assert tells(bits, [str(10 + 5 * bit + at % 3) for at, bit in enumerate(bits)])
    assert tells(bits, ["yes" if bit else "no" for bit in bits])
    assert not tells(bits, [str(at) for at in range(12)]) and not tells(bits, ["same"] * 12)
    assert not tells(bits, ["yes" if bit and at != 3 else "no" for at, bit in enumerate(bits)])
