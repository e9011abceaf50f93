"""The warm process that programs are forked from: started by exec with an empty environment, one fork per program.

Invariant: the zygote never runs model-written code itself; before it reports a program's end, every process that descends
from it is dead; when the trusted side closes the channel (or dies), it kills what runs and exits.
Run as a script: `python -P -s -S -B zygote.py CHANNEL_FD`.
"""

import gc
import importlib
import os
import platform
import select
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

# -P and -S leave only the standard library on the path; the project's own folder is there for these imports alone.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from sandbox.jail import child, landlock, program, runtime, seccomp, wire
from sandbox.jail import levels as jail
from sandbox.jail.frames import Kind

_FIRST_FREE_FD = 4
_HIGH_FD = 40  # above what the zygote has open, below Limits.descriptors


def main(channel: socket.socket) -> None:
    """Serve until the channel ends."""
    first = wire.receive(channel)
    if first is None:
        return
    start, _ = first
    level = jail.Level(start["level"])
    limits = jail.Limits(**start["limits"])
    _warm_up()
    try:
        ruleset = _ruleset(Path(start["result_file"])) if level >= jail.Level.L2 else -1
        os.chdir(start["folder"])
        jail.limit_zygote(limits)
    except OSError as error:
        return wire.send(channel, {"failed": str(error)})
    seccomp.prepare_filter(platform.machine())
    null = os.open("/dev/null", os.O_RDWR)
    wire.send(channel, {"namespaces": _namespaces(), "sees": [path for path in start["hidden"] if Path(path).exists()]})
    # Pages of warm modules stay shared between the forks as long as no collection writes to their headers.
    gc.collect()
    gc.freeze()
    with suppress(ConnectionError):  # the trusted side died in the middle of a run: the same as its end
        while (message := wire.receive(channel)) is not None:
            _serve(channel, message[1], (level, limits, ruleset, null))
    _leave(Path(start["folder"]), Path(start["result_file"]))


def _leave(folder: Path, result_file: Path) -> None:
    """Remove the scratch folder, since a killed trusted side cannot; inside bubblewrap, a mount point, it stays, empty."""
    os.chdir("/")
    with suppress(OSError):
        result_file.unlink(missing_ok=True)
        folder.rmdir()


def _warm_up() -> None:
    sys.path[:] = runtime.program_path()
    for name in runtime.PRELOADED:
        with suppress(ImportError):  # an interpreter built without sqlite3, lzma, ... is no fault
            importlib.import_module(name)


def _ruleset(result_file: Path) -> int:
    return landlock.build_ruleset(runtime.readable_paths(), [runtime.stdlib()], result_file)


def _namespaces() -> dict[str, int]:
    """Inode numbers of the namespaces that the zygote is in; empty where /proc is not mounted."""
    folder = Path("/proc/self/ns")
    return {
        kind: (folder / kind).stat().st_ino for kind in ("pid", "mnt", "net", "ipc", "uts", "user") if (folder / kind).exists()
    }


def _serve(channel: socket.socket, descriptors: list[int], setting: tuple[Any, ...]) -> None:
    """Fork one program, wait for its end or the trusted side's, bury all descendants, report."""
    parent = os.getpid()
    try:
        forked = os.fork()
    except OSError as error:
        _close(descriptors)
        return wire.send(channel, {"failed": f"fork: {error}"})
    if forked == 0:
        _become_child(descriptors, parent, setting)
    _close(descriptors)
    handle = os.pidfd_open(forked)
    try:
        wire.send(channel, {"pid": forked}, [handle])
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        poller.register(channel, 0)  # only POLLHUP: the trusted side is gone
        if any(ready == channel.fileno() for ready, _ in poller.poll()):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        _, status, usage = os.wait4(forked, 0)
    finally:
        os.close(handle)
    strays = _bury_strays()
    wire.send(channel, {"code": os.waitstatus_to_exitcode(status), "max_rss": usage.ru_maxrss << 10, "strays": strays})


def _become_child(descriptors: list[int], parent: int, setting: tuple[Any, ...]) -> NoReturn:
    level, limits, ruleset, null = setting
    try:
        payload, stdout, result = descriptors
        with os.fdopen(os.dup(payload), "rb") as file:
            todo = program.undump(file.read())
        high = [os.dup2(one, _HIGH_FD + place) for place, one in enumerate((null, stdout, null, result))]
        kept = os.dup2(ruleset, _HIGH_FD + 4) if ruleset >= 0 else -1
        for place, one in enumerate(high):
            os.dup2(one, place)
        if ruleset >= 0:
            os.dup2(kept, _FIRST_FREE_FD)
        os.closerange(_FIRST_FREE_FD + (ruleset >= 0), 1 << 20)
        try:
            jail.enter(level, limits, _FIRST_FREE_FD, parent)
        except (OSError, ValueError) as error:
            child.send(Kind.BROKEN, 0, str(error).encode()[:200])
        else:
            child.run(todo)
    finally:
        os._exit(0)


def _bury_strays() -> int:
    """Kill and reap whatever the program left behind (the zygote is its subreaper). Returns how many there were."""
    count = 0
    while True:
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return count
        for stray in _children():
            with suppress(ProcessLookupError):
                os.kill(stray, signal.SIGKILL)
                count += 1


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
