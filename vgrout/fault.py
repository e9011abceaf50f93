"""What a failed command tells its user: bad input and a machine's refusals as one message, everything else as a bug with its log.

Invariant: nothing is said to be the user's to mend unless it is: only the system errors listed here are.
"""

import errno
import tempfile
import time
import traceback
from pathlib import Path

from vgrout.errors import UserError

EXPECTED = {
    errno.ENOSPC: "room on that disk; then the same command again, or --resume",
    errno.EDQUOT: "room in that quota; then the same command again, or --resume",
    errno.EACCES: "a place that this user may read or write",
    errno.EPERM: "a place that this user may read or write",
    errno.EROFS: "a place that can be written",
    errno.ENOENT: "an existing file",
    errno.EEXIST: "a name that is free, or a folder",
    errno.ENOTDIR: "a folder at every step of the path",
    errno.EISDIR: "a file",
    errno.ENAMETOOLONG: "a shorter path",
    errno.ELOOP: "a path without a circle of links",
    errno.EMFILE: "a higher limit of open files (ulimit -n)",
}


def as_user_error(error: BaseException) -> UserError | None:
    """The message for an error that the user can mend, or None for a bug."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, OSError) and error.errno in EXPECTED and error.filename is not None:
        return UserError(str(error.filename), (error.strerror or str(error)).lower(), EXPECTED[error.errno])
    if isinstance(error, UnicodeEncodeError):
        place = f"{error.object[max(0, error.start - 20) : error.end + 20]!r}"
        return UserError(f"the text {place}", "half of a surrogate pair, which UTF-8 cannot hold", "text of whole characters")
    return None


def report_bug(error: BaseException) -> str:
    """Write the traceback to a file of its own; what to tell the user."""
    text = "".join(traceback.format_exception(error))
    path = Path(tempfile.gettempdir()) / f"vgrout-error-{time.strftime('%Y%m%dT%H%M%S')}-{time.time_ns() % 10**6:06d}.txt"
    last = (text.strip().splitlines() or [type(error).__name__])[-1]
    try:
        path.write_text(text, errors="backslashreplace")
    except OSError:
        return f"internal error: {last}\n{text}\nPlease report this as a bug, with the output of `vgrout doctor`."
    advice = f"The whole account is in {path}. Please report it as a bug, with that file and the output of `vgrout doctor`."
    return f"internal error: {last}\n{advice}"
