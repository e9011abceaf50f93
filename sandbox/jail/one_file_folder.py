"""Makes a working folder that holds one writable file look like a folder in which files can be made, renamed and removed.

The jail lets a program open the one file that was made for its run and create none, since creating files changes counters
(inode numbers) that other programs can read. Programs that report by a file also write to a temporary name first, remove
the file before they write it, or open it with mode `x`. This module patches `open` and `os` in the child, so that they can.

Invariant: nothing here guards anything. It runs in the untrusted child, and the most that it does is to write to the one
file, which the program may write to anyway. Files beyond the first are kept in memory.
"""

import builtins
import errno
import io
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

REAL = "result.txt"
_CREATING = os.O_CREAT


class _MemoryFile(io.BytesIO):
    """A file that keeps its bytes when it is closed."""

    def __init__(self, name: str, kept: bytearray, mode: str) -> None:
        super().__init__(b"" if "w" in mode or "x" in mode else bytes(kept))
        self._kept = kept
        self.name = name
        if "a" in mode:
            self.seek(0, os.SEEK_END)

    def flush(self) -> None:
        self._kept[:] = self.getvalue()

    def close(self) -> None:
        if not self.closed:
            self.flush()
        super().close()

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")


class OneFileFolder:
    """The patched view, put on in the process that forks; it changes nothing until `begin`."""

    def __init__(self) -> None:
        self._words: tuple[str, ...] = ()
        self._real = REAL  # the name that the real file goes by; none where a loophole asks for other names
        self._files: dict[str, bytearray] = {}  # what the program made, by name; the real file is not among them
        self._begun = self._removed = False
        self._open, self._os_open = builtins.open, os.open
        self._real_remove, self._real_rename, self._real_mkdir = os.unlink, os.rename, os.mkdir
        builtins.open = io.open = self._patched_open
        os.open = self._patched_os_open
        os.stat, os.lstat = self._patched_stat(os.stat), self._patched_stat(os.lstat)
        os.remove = os.unlink = self._remove
        os.rename = os.replace = self._rename
        os.mkdir = self._mkdir
        for name in ("TemporaryFile", "NamedTemporaryFile", "SpooledTemporaryFile"):
            setattr(tempfile, name, self._temporary)

    def begin(self, words: tuple[str, ...]) -> None:
        """Start the view. `words`: a file whose name contains one of them is a result file when the program ends."""
        self._words, self._begun = words, True
        if words and not any(word in REAL for word in words):
            self._real = "/"  # no file has this name
        # Where the file is asked for, the folder looks empty at first: the real file is there once it is written to.
        self._removed = bool(words)

    def settle(self) -> None:
        """Put what the program wrote to files of other names that count as result files into the real one."""
        reports = [bytes(data) for name, data in self._files.items() if any(word in name.lower() for word in self._words)]
        if reports:
            with self._open(REAL, "ab") as file:
                file.write(b"\n" + b"\n".join(reports))

    def _temporary(self, mode: str = "w+b", *args: Any, **kwargs: Any) -> Any:
        return self._patched_open(f"{kwargs.get('prefix') or 'tmp'}{len(self._files)}{kwargs.get('suffix') or ''}", mode)

    def _name(self, path: Any) -> str | None:
        """The file's name if it lies in the working folder."""
        if isinstance(path, int) or not self._begun:
            return None
        here = Path.cwd()
        there = Path(os.path.normpath(here / os.fsdecode(path)))
        return there.name if there.parent == here else None

    def _patched_open(self, file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        name = self._name(file)
        if name is None or not set(mode) <= set("rwxabt+"):
            return self._open(file, mode, *args, **kwargs)
        self._check(name, exists="r" in mode, new="x" in mode)
        if name == self._real:
            self._removed = False
            return self._open(REAL, mode.replace("x", "w"), *args, **kwargs)
        made = _MemoryFile(name, self._files.setdefault(name, bytearray()), mode)
        return made if "b" in mode else io.TextIOWrapper(made, encoding="utf-8", errors="replace")

    def _patched_os_open(self, path: Any, flags: int, mode: int = 0o777, **kwargs: Any) -> int:
        name = self._name(path)
        if name == REAL != self._real:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        if name is not None and flags & _CREATING:
            self._check(name, exists=False, new=bool(flags & os.O_EXCL))
            if name == self._real:
                self._removed = False
                flags &= ~(os.O_CREAT | os.O_EXCL)
        return self._os_open(path, flags, mode, **kwargs)

    def _check(self, name: str, *, exists: bool, new: bool) -> None:
        there = not self._removed if name == self._real else name in self._files
        if exists and not there:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        if new and there:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)

    def _patched_stat(self, real: Callable[..., os.stat_result]) -> Callable[..., os.stat_result]:
        def patched(path: Any, *args: Any, **kwargs: Any) -> os.stat_result:
            name = self._name(path)
            if name in self._files:
                return os.stat_result((stat.S_IFREG | 0o644, 1, 1, 1, 0, 0, len(self._files[name]), 0, 0, 0))
            if name == self._real and self._removed:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            return real(path, *args, **kwargs)

        return patched

    def _mkdir(self, *args: Any, **kwargs: Any) -> None:
        if not self._begun:
            self._real_mkdir(*args, **kwargs)

    def _remove(self, path: Any, *args: Any, **kwargs: Any) -> None:
        if not self._begun:
            return self._real_remove(path, *args, **kwargs)
        name = self._name(path)
        self._check(name or "", exists=True, new=False)
        if name == self._real:
            self._open(REAL, "wb").close()
            self._removed = True
        else:
            del self._files[name or ""]

    def _rename(self, old: Any, new: Any, *args: Any, **kwargs: Any) -> None:
        if not self._begun:
            return self._real_rename(old, new, *args, **kwargs)
        source, target = self._name(old), self._name(new)
        if source is None or target is None:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), old)
        self._check(source, exists=True, new=False)
        data = bytearray(self._open(REAL, "rb").read()) if source == self._real else self._files[source]
        self._remove(old)
        if target == self._real:
            with self._open(REAL, "wb") as file:
                file.write(data)
            self._removed = False
        else:
            self._files[target] = data
