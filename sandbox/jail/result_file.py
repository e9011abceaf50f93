"""Read the result file of the `file_marker` loophole, after every process of the program is dead.

Invariant: what is read is a regular file with one link, opened without following links and without blocking, and no more
than MAX_BYTES of it; anything else at that path (link, FIFO, device, folder, socket, hard link, huge file) reads as nothing.
"""

import os
import stat
from pathlib import Path

MAX_BYTES = 1 << 14  # below Limits.file, so that a program that writes on is seen to have written too much


def read_result_file(path: str | Path) -> str:
    """Return the file's text; empty for a file that is missing or not what the invariant asks for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:  # missing, a symlink, a socket, no right to read: no report
        return ""
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1 or status.st_size > MAX_BYTES:
            return ""
        return os.read(descriptor, MAX_BYTES).decode("utf-8", "replace")
    finally:
        os.close(descriptor)
