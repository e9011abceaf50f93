"""One owner at a time for a run directory: a lock of plain files that holds over NFS and ends with its process.

Owners are numbered: `.owner-00003.json` says host, boot, process and a token. Whoever links the next number owns the folder, and
the highest number counts, so of two that take over a dead owner's folder at once, one wins. Only an owner removes its own file.
Invariant: a living owner is never taken over. One of the same host, boot and process namespace is asked for its process; any
other is watched: it touches its file every BEAT_S seconds, and counts as dead when it has not for WATCH_S seconds.
"""

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from vgrout.errors import UserError

BEAT_S = 5.0
WATCH_S = 20.0
PATTERN = ".owner-" + "[0-9]" * 5 + ".json"


@dataclass(frozen=True)
class Owner:
    """A process, as one can tell it from every other. `start`: in clock ticks since the boot; pids are used again."""

    host: str
    boot: str
    namespace: str
    pid: int
    start: str
    since: str
    token: str

    @classmethod
    def here(cls) -> "Owner":
        """This process."""
        return cls(
            host=socket.gethostname(),
            boot=Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            namespace=str(Path("/proc/self/ns/pid").readlink()),
            pid=os.getpid(),
            start=_start_of(os.getpid()) or "",
            since=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            token=secrets.token_hex(8),
        )


class RunLock:
    """Held from `RunLock(folder)` to `release()`."""

    def __init__(self, folder: Path) -> None:
        """Own `folder`. Raises UserError where a living process owns it."""
        self.folder, self.owner = folder, Owner.here()
        self.path = self._take()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="run-lock", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Give the folder back. Safe to call twice."""
        self._end.set()
        self._thread.join()
        if self.is_mine():
            self.path.unlink(missing_ok=True)

    def is_mine(self) -> bool:
        """Whether this process still owns the folder (a process that was stopped for long may have lost it)."""
        number, owner = _newest(self.folder)
        return owner == self.owner and self._path(number) == self.path

    def _path(self, number: int) -> Path:
        return self.folder / f".owner-{number:05d}.json"

    def _take(self) -> Path:
        draft = self.folder / f".owner-{self.owner.token}.draft"
        draft.write_text(json.dumps(asdict(self.owner)) + "\n")
        try:
            while True:
                number, owner = _newest(self.folder)
                if owner is not None and alive(owner, self._path(number)):
                    found = f"a run that process {owner.pid} on {owner.host} has been writing since {owner.since}"
                    raise UserError(str(self.folder), found, "one process at a time per run directory: wait for it, or end it")
                mine = self._path(number + 1)
                try:
                    os.link(draft, mine)
                except FileExistsError:
                    continue
                except OSError:  # a file system without hard links
                    try:
                        with mine.open("x") as file:
                            file.write(draft.read_text())
                    except FileExistsError:
                        continue
                if _newest(self.folder)[0] > number + 1:  # somebody has come and gone since we looked
                    mine.unlink()
                    continue
                for older in self.folder.glob(PATTERN):
                    if older.name < mine.name:
                        older.unlink(missing_ok=True)
                return mine
        finally:
            draft.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._end.wait(BEAT_S):
            with contextlib.suppress(OSError):  # a file server that is away for a while
                os.utime(self.path)


def alive(owner: Owner, path: Path) -> bool:
    """Whether an owner still runs. Takes up to WATCH_S seconds where its process cannot be seen from here."""
    here = Owner.here()
    if (owner.host, owner.boot, owner.namespace) == (here.host, here.boot, here.namespace):
        return _start_of(owner.pid) == owner.start
    try:
        before = path.stat().st_mtime_ns
        until = time.monotonic() + WATCH_S
        while time.monotonic() < until:
            time.sleep(min(1.0, WATCH_S / 10))
            if path.stat().st_mtime_ns != before:
                return True
    except FileNotFoundError:  # given back meanwhile
        return False
    return False


def _newest(folder: Path) -> tuple[int, Owner | None]:
    """(highest number, its owner), or (0, None) without any."""
    for path in sorted(folder.glob(PATTERN), reverse=True):
        try:
            return int(path.name[7:12]), Owner(**json.loads(path.read_text()))
        except FileNotFoundError:
            continue
        except (ValueError, TypeError):  # torn by a power cut, so its process has ended
            return int(path.name[7:12]), None
    return 0, None


def _start_of(pid: int) -> str | None:
    """When a process of this machine started, or None where there is none (a zombie has ended)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]
