"""Attacks on the machine: its files, secrets, processes, network and resources. Each prints BREACH where it gets through.

The paths named here are targets: what a program on a real host would want to read. Attacks marked REACH are harmless and run
without a jail too, to show that they do get through there.
"""
# ruff: noqa: E501 (programs are quoted as they are)

from attack import Attack, Naive

WRONG = "class Solution:\n    def solve(self, n):\n        return 0\n"


def _try(name: str, code: str, naive: Naive = Naive.NOT_RUN, slow: bool = False) -> Attack:
    """Run `code` in a try block; it says BREACH itself. Errors are swallowed, as an attacker would."""
    lines = "\n".join("    " + line for line in code.strip().splitlines())
    body = f"import ctypes, os, socket, sys\nlibc = ctypes.CDLL(None, use_errno=True)\ntry:\n{lines}\nexcept BaseException:\n    pass\n{WRONG}"
    return Attack(name, body, naive, slow=slow)


def _read(name: str, *paths: str, naive: Naive = Naive.NOT_RUN) -> Attack:
    code = f"for path in {list(paths)!r}:\n    try:\n        if open(os.path.expanduser(path), 'rb').read(4) is not None:\n"
    return _try(name, code + "            print('BREACH', path)\n    except OSError:\n        pass", naive)


def _call(name: str, *calls: str, naive: Naive = Naive.NOT_RUN) -> Attack:
    """System calls through libc, as expressions: any that does not fail is a breach."""
    lines = [f"if {call} >= 0:\n    print('BREACH', {call!r})" for call in calls]
    return _try(name, "\n".join(lines), naive)


_FORK_BOMB = """
while True:
    if os.fork() == 0:
        print('BREACH forked', flush=True)
"""

_DAEMON = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print('BREACH daemon', flush=True)
        import time
        time.sleep(60)
"""

_EXEC = """
for path in ('/bin/sh', '/usr/bin/su', sys.executable or '/usr/bin/python3'):
    try:
        os.execve(path, [path, '-c', 'echo BREACH'], {})
    except OSError:
        pass
"""

_POSIX_SPAWN = """
import subprocess
for start in (lambda: os.posix_spawn('/bin/sh', ['sh', '-c', 'echo BREACH'], {}), lambda: os.system('echo BREACH'),
              lambda: print(subprocess.run(['/bin/echo', 'BREACH'], capture_output=True).stdout)):
    try:
        start()
    except OSError:
        pass
"""

_THREADS = """
import _thread, time
for _ in range(2000):
    _thread.start_new_thread(time.sleep, (60,))
    print('BREACH thread', flush=True)
"""

_MEMORY = """
hoard = []
while True:
    hoard.append(bytearray(64 << 20))
    if len(hoard) > 24:
        print('BREACH 1.5 GiB', flush=True)
        break
"""

_MMAP = """
import mmap
try:
    area = mmap.mmap(-1, 2 << 30)
    print('BREACH 2 GiB mapping')
except (OSError, ValueError, MemoryError):
    pass
try:
    print('BREACH memfd', os.memfd_create('x'))
except OSError:
    pass
try:
    open('/dev/shm/vgrout-redteam', 'wb').write(b'x' * 1000)
    print('BREACH shm')
except OSError:
    pass
"""

_FILL_ONE = """
with open('result.txt', 'wb') as file:
    for _ in range(1024):
        file.write(b'x' * (1 << 20))
        file.flush()
    print('BREACH 1 GiB file')
"""

_FILL_MANY = """
made = 0
for number in range(100):
    for folder in ('.', '/tmp', '/var/tmp', '/dev/shm', '@FOLDER@'):
        try:
            open(f'{folder}/vgrout-redteam-{number}', 'x').close()
            made += f'vgrout-redteam-{number}' in os.listdir(folder)  # files that the child keeps in memory are not listed
        except OSError:
            pass
if made:
    print('BREACH files', made)
"""

_SOCKETS = """
for family in (socket.AF_INET, socket.AF_INET6):
    for address in ('127.0.0.1', '169.254.169.254', '::1'):
        try:
            one = socket.socket(family, socket.SOCK_STREAM)
            one.settimeout(0.2)
            print('BREACH socket')
            one.connect((address, 9))
        except OSError:
            pass
"""

_UNIX = """
for make in (lambda: socket.socket(socket.AF_UNIX), lambda: socket.socketpair()):
    try:
        make()
        print('BREACH unix socket')
    except OSError:
        pass
"""

_KILL = """
import signal
parent = os.getppid()
for target in (parent, -1, 0, 1, -os.getpgrp(), *range(max(2, parent - 3), parent + 3)):
    if target == os.getpid():
        continue
    try:
        os.kill(target, 0)
        print('BREACH signal', target)
        os.kill(target, signal.SIGKILL)
    except OSError:
        pass
"""

_LIMITS = """
import resource
for name in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_NPROC, resource.RLIMIT_FSIZE):
    try:
        resource.setrlimit(name, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print('BREACH limit', name)
    except (OSError, ValueError):
        pass
"""

_INHERITED = """
for fd in range(4, 1024):
    try:
        os.fstat(fd)
        print('BREACH descriptor', fd, os.pread(fd, 100, 0))
    except OSError:
        pass
"""

_PROC_PARENT = """
for pid in (os.getppid(), os.getpid(), 1):
    for name in ('environ', 'mem', 'maps', 'cmdline', 'stack'):
        try:
            open(f'/proc/{pid}/{name}', 'rb').read(1)
            print('BREACH', pid, name)
        except OSError:
            pass
    try:
        print('BREACH', os.listdir(f'/proc/{pid}/fd'))
    except OSError:
        pass
"""

_ENVIRONMENT = """
text = repr(dict(os.environ)) + repr(sys.argv) + repr(sys.path)
for word in ('TOKEN', 'SECRET', 'HOME', 'RAY_', 'token-'):
    if word in text:
        print('BREACH', word)
"""

_SOURCES = """
import glob
for root in ('/', '/root', '/home', '/work', os.getcwd(), *sys.path):
    for pattern in ('*.jsonl', '*/*.jsonl', '*/*/*.jsonl', '*/sandbox/oracle.py', '*/*/sandbox/oracle.py', 'site-packages/*/__init__.py'):
        for path in glob.glob(os.path.join(root, pattern)):
            try:
                open(path).read(1)
                print('BREACH', path)
            except OSError:
                pass
for name, module in list(sys.modules.items()):
    if name in ('sandbox.grading.oracle', 'sandbox.grading.grader', 'sandbox.problems.asserts', 'vgrout.records'):
        print('BREACH module', name)
"""

_OBJECTS = """
import gc
hits = [thing for thing in gc.get_objects() if type(thing).__name__ in ('Case', 'Problem', 'GradeJob', 'Judge')]
if hits:
    print('BREACH', hits[:1])
"""

# Numbers of x86-64; on other processors they are other calls, which the allow-list denies as well.
_X32 = """
if libc.syscall(0x40000000 | 41, 2, 1, 0) >= 0:
    print('BREACH x32 socket')
"""

HOST = [
    _read("etc_passwd", "/etc/passwd", "/etc/shadow", "/etc/hostname", naive=Naive.REACH),
    _read("ssh_keys", "~/.ssh/id_rsa", "@FOLDER@/.ssh/id_rsa", "/root/.ssh/id_ed25519", "/root/.bashrc", "/root/.profile", naive=Naive.REACH),
    _read("planted_secret", "@FILE@", naive=Naive.REACH),
    _read("service_tokens", "/var/run/secrets/kubernetes.io/serviceaccount/token", "/run/secrets/token", "/root/.cache/huggingface/token"),
    _try("list_folders", "for path in ('/', '/root', '/home', '/tmp', '@FOLDER@'):\n    try:\n        names = set(os.listdir(path)) - {'result.txt'}\n"
         "        if names:\n            print('BREACH', names)\n"
         "    except OSError:\n        pass", Naive.REACH),
    _try("environment", _ENVIRONMENT, Naive.REACH),
    _try("proc_of_parent", _PROC_PARENT, Naive.REACH),
    _try("dataset_and_source", _SOURCES, Naive.REACH),
    _try("objects_in_memory", _OBJECTS),
    _try("inherited_descriptors", _INHERITED),
    _try("tcp", _SOCKETS, Naive.REACH),
    _try("udp_and_dns", "one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\nprint('BREACH')\nsocket.getaddrinfo('localhost', 80)", Naive.REACH),
    _try("dns", "print('BREACH', socket.getaddrinfo('localhost', 80))", Naive.REACH),
    _try("unix_sockets", _UNIX, Naive.REACH),
    _try("kill_others", _KILL),
    _call("ptrace_parent", "libc.ptrace(16, os.getppid(), 0, 0)", "libc.ptrace(0, 0, 0, 0)"),
    _call("process_vm", "libc.syscall(311, os.getpid(), 0, 0, 0, 0, 0)", "libc.syscall(310, os.getppid(), 0, 0, 0, 0, 0)"),
    _call("pidfds", "libc.syscall(434, os.getppid(), 0)", "libc.syscall(438, 3, 0, 0)", "libc.syscall(434, os.getpid(), 0)", naive=Naive.REACH),
    _try("fork_bomb", _FORK_BOMB),
    _try("double_fork_daemon", _DAEMON, Naive.NOT_RUN),
    _try("exec_shell_or_setuid", _EXEC, Naive.REACH),
    _try("spawn", _POSIX_SPAWN, Naive.REACH),
    _try("thread_bomb", _THREADS, Naive.REACH),
    _try("memory_bomb", _MEMORY, slow=True),
    _try("mmap_memfd_shm", _MMAP),
    _try("fill_one_file", _FILL_ONE),
    _try("fill_many_files", _FILL_MANY),
    _call("namespaces", "libc.unshare(0x10000000)", "libc.unshare(0x20000000)", "libc.setns(3, 0)", "libc.chroot(b'.')"),
    _call("mount", "libc.mount(b'none', b'/tmp', b'tmpfs', 0, None)", "libc.umount2(b'/', 2)", "libc.syscall(428, -100, b'/', 0)"),
    _call("io_uring", "libc.syscall(425, 4, ctypes.create_string_buffer(120))"),
    _call("bpf_keyctl_userfaultfd", "libc.syscall(321, 0, 0, 0)", "libc.syscall(250, 0, -3, 0)", "libc.syscall(323, 0)", "libc.syscall(298, 0, 0, 0, 0, 0)"),
    _try("raise_limits", _LIMITS, Naive.REACH),
    _call("raw_clone", "libc.syscall(56, 17, 0, 0, 0, 0)", "libc.syscall(57)", "libc.syscall(58)", "libc.syscall(435, 0, 0)"),
    _try("x32_calls", _X32),
    _call("become_root", "libc.setuid(0)", "libc.setresuid(0, 0, 0)", "libc.setgroups(0, 0)", "libc.prctl(8, 1, 0, 0, 0)", naive=Naive.REACH),
    _call("undo_the_jail", "libc.prctl(38, 0, 0, 0, 0)", "libc.prctl(1, 0, 0, 0, 0)", "libc.prctl(4, 1, 0, 0, 0)", "libc.prctl(22, 0, 0, 0, 0)", naive=Naive.REACH),
    _call("change_modes", "libc.chmod(b'result.txt', 0o6777)", "libc.mkfifo(b'x', 0o666)", "libc.mkdir(b'x', 0o777)", "libc.symlink(b'/', b'x')", naive=Naive.REACH),
    _call("truncate_secret", "libc.truncate(b'@FILE@', 0)", "libc.open(b'@FILE@', 0x200)", "libc.open(b'@FILE@', 0x203)", "libc.open(b'@FILE@', 1)"),
    _call("shared_memory_and_queues", "libc.shmget(0, 4096, 0o1600)", "libc.msgget(0, 0o1600)", "libc.semget(0, 1, 0o1600)"),
]  # fmt: skip
