"""How soon a command says something, and its longest silence: the command is run on a terminal of its own (a pty).

    python -m bench.silence --log out/demo.pty.jsonl -- vgrout demo --out out/demo

Every piece of output goes to the log with the second at which it came. Exit code: the command's.
"""

import argparse
import json
import os
import pty
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Heard:
    """What was heard of a command: seconds until its first output, its longest silence and what came before that, exit code."""

    first_s: float
    silence_s: float
    after: str
    code: int


def listen(command: list[str], log: Path) -> Heard:
    """Run a command on a pty to its end."""
    began = time.monotonic()
    child, terminal = pty.fork()
    if child == 0:
        os.execvp(command[0], command)
    first, silence, after, last, before = float("inf"), 0.0, "", 0.0, ""
    with log.open("w") as file:
        while piece := _read(terminal):
            now = time.monotonic() - began
            first = min(first, now)
            if now - last > silence:
                silence, after = now - last, before
            last, before = now, piece.split("\x1b[2K")[-1].strip() or before
            file.write(json.dumps([round(now, 2), piece]) + "\n")
    _, status = os.waitpid(child, 0)
    return Heard(first, max(silence, time.monotonic() - began - last), after, os.waitstatus_to_exitcode(status))


def _read(terminal: int) -> str:
    try:
        return os.read(terminal, 65536).decode(errors="replace")
    except OSError:  # the command has closed it
        return ""


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", type=Path, required=True, help="JSON Lines: [seconds, text]")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="after --")
    args = parser.parse_args()
    heard = listen([word for word in args.command if word != "--"], args.log)
    print(f"first output after {heard.first_s:.2f} s; longest silence {heard.silence_s:.2f} s, after {heard.after[-100:]!r}")
    return heard.code


if __name__ == "__main__":
    raise SystemExit(main())
