"""The warm process that programs are forked from: started by exec with an empty environment, one fork per program.

Invariant: the zygote never runs model-written code itself, and reads a program only in the fork that runs it; before it
reports a program's end, every process that descends from it is dead; when the trusted side closes the channel (or dies), it
kills what runs and exits.
Run as a script: `python -P -S -s -B zygote.py CHANNEL_FD`.
"""

import ctypes
import gc
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

# -P and -S leave only the standard library on the path; the project's own folder is there for these imports alone.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from sandbox.jail import child, landlock, program, runtime, seccomp, wire
from sandbox.jail import levels as jail

_HIGH_FD = 40  # above what the zygote has open, below Limits.descriptors

# fork without the hooks that os.fork runs in the child (random, logging, threading): they reset locks and threads of a process
# that has one thread, and cost a third of a short program's start. PyDLL keeps the interpreter's lock through the call.
_libc = ctypes.PyDLL(None, use_errno=True)


def main(channel: socket.socket) -> None:
    """Serve until the channel ends."""
    first = wire.receive(channel)
    if first is None:
        return
    start, _ = first
    level = jail.Level(start["level"])
    limits = jail.Limits(**start["limits"])
    runtime.warm_up(start["packages"], start["folders"])
    try:
        os.chdir(start["scratch"])
        jail.limit_zygote(limits)
    except OSError as error:
        return wire.send(channel, {"failed": str(error)})
    seccomp.prepare_filter()
    landlock.prepare()
    child.prepare()
    sees = [path for path in start["hidden"] if Path(path).exists()]
    handle = os.pidfd_open(os.getpid())
    wire.send(channel, {"sees": sees}, [handle])
    os.close(handle)
    # Pages of warm modules stay shared between the forks as long as no collection writes to their headers.
    gc.collect()
    gc.freeze()
    with suppress(ConnectionError):  # the trusted side died in the middle of a run: the same as its end
        while (message := wire.receive(channel)) is not None:
            _serve(channel, *message, level, limits)
    _leave(Path(start["scratch"]))


def _leave(scratch: Path) -> None:
    """Remove the scratch folder, since a killed trusted side cannot; inside bubblewrap, a mount point, it stays, empty."""
    os.chdir("/")
    with suppress(OSError):
        for run in scratch.iterdir():
            folder = os.open(run, os.O_RDONLY | os.O_DIRECTORY)
            os.seteuid(run.stat().st_uid)  # inside bubblewrap, root may not write into the folder of another user
            for name in os.listdir(folder):  # noqa: PTH208 (a descriptor has no iterdir)
                os.unlink(name, dir_fd=folder)
            os.seteuid(os.getuid())
            os.close(folder)
            run.rmdir()
        scratch.rmdir()


def _serve(channel: socket.socket, run: wire.Message, descriptors: list[int], level: jail.Level, limits: jail.Limits) -> None:
    """Fork one program, wait for its end or the trusted side's, bury all descendants, report."""
    parent = os.getpid()
    forked = _libc.fork()
    if forked == 0:
        _become_child(descriptors, run["folder"], run["user"], parent, level, limits)
    if forked < 0:
        _close(descriptors)
        return wire.send(channel, {"failed": f"fork: {os.strerror(ctypes.get_errno())}"})
    _close(descriptors)
    handle = os.pidfd_open(forked)
    try:
        wire.send(channel, {"pid": forked}, [handle])
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        poller.register(channel, 0)  # only POLLHUP: the trusted side is gone
        if any(ready == channel.fileno() for ready, _ in poller.poll()):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        _, status = os.waitpid(forked, 0)
    finally:
        os.close(handle)
    _bury_strays(level)
    wire.send(channel, {"code": os.waitstatus_to_exitcode(status)})


def _become_child(
    descriptors: list[int], folder: str, user: int, parent: int, level: jail.Level, limits: jail.Limits
) -> NoReturn:
    try:
        payload, *given = descriptors  # stdout, stderr, result file, status pipe
        todo = program.undump(payload)
        # An empty pipe of this program's own: an input that has ended.
        stdin, writer = os.pipe()
        os.close(writer)
        high = [os.dup2(one, _HIGH_FD + place) for place, one in enumerate((stdin, *given))]
        for place, one in enumerate(high):
            os.dup2(one, place)
        os.closerange(len(high), 1 << 20)
        try:
            jail.enter(level, limits, folder, user, parent)
        except (OSError, ValueError) as error:
            child.say(child.BROKEN, str(error))
        else:
            child.say(child.JAILED)
            child.run(todo)
    finally:
        os._exit(0)


def _bury_strays(level: jail.Level) -> None:
    """Kill and reap whatever the program left behind (the zygote is its subreaper)."""
    while True:
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if level >= jail.Level.L3:
            os.kill(-1, signal.SIGKILL)  # in this process namespace: all but this process and bubblewrap's own
            continue
        for stray in _children():
            with suppress(ProcessLookupError):
                os.kill(stray, signal.SIGKILL)


def _children() -> list[int]:
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def _close(descriptors: list[int]) -> None:
    for one in descriptors:
        os.close(one)


def _reset_signals() -> None:
    """Handlers do not survive exec, but ignored and blocked signals do: an ignored SIGCHLD would leave nothing to wait for."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


if __name__ == "__main__":
    _reset_signals()
    jail.become_subreaper()
    main(socket.socket(fileno=int(sys.argv[1])))
