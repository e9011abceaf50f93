"""`vgrout data fetch SOURCE DEST`: copy a JSON Lines file from a path or a URL, digest checked, resumable.

Invariant: DEST exists only as a whole file of the expected digest (or, where none was named, of whole JSON lines); until
then the bytes are in DEST.part, and a part is only continued if the server says that the file is still the same one.
"""

import argparse
import hashlib
import http.client
import json
import os
import shutil
import sys
import urllib.error
import urllib.request
from pathlib import Path

from vgrout.errors import UserError
from vgrout.files import fsync_dir, read_jsonl, write_whole

CHUNK = 2**20
TIMEOUT_S = 30


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("source", metavar="SOURCE", help="a path, or an http(s) URL")
    parser.add_argument("dest", type=Path, metavar="DEST", help="the file to write, e.g. data/leetcode_train.jsonl")
    parser.add_argument("--sha256", help="the expected digest (64 hex digits); printed and recorded where none is given")


def run(args: argparse.Namespace) -> int:
    """Fetch and print `digest  path`, as sha256sum does."""
    digest = fetch(args.source, args.dest, args.sha256)
    print(f"{digest}  {args.dest}")
    return 0


def fetch(source: str, dest: Path, expected: str | None) -> str:
    """Bring `source` to `dest`; returns the digest, also written to DEST.sha256.

    Raises UserError for an existing other file, a source that cannot be read, a torn transfer (run it again to go on),
    a wrong digest (nothing is kept) and a file that is no JSON Lines.
    """
    if expected is not None and (len(expected) != 64 or set(expected.lower()) - set("0123456789abcdef")):
        raise UserError("--sha256", repr(expected), "64 hex digits")
    if dest.exists():
        found = digest_of(dest)
        if expected is not None and found == expected.lower():
            return found
        raise UserError(str(dest), f"an existing file (sha256 {found[:12]}...)", "no file there, or --sha256 of this very file")
    dest.parent.mkdir(parents=True, exist_ok=True)
    part = dest.with_name(dest.name + ".part")
    if source.startswith(("http://", "https://")):
        _download(source, part)
    else:
        _copy(source, part)
    found = digest_of(part)
    if expected is not None and found != expected.lower():
        _discard(part)
        raise UserError(source, f"sha256 {found}", f"sha256 {expected.lower()} (nothing was kept)")
    _check_lines(part, source)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    write_whole(dest.with_name(dest.name + ".sha256"), f"{found}  {dest.name}\n")
    part.replace(dest)
    fsync_dir(dest.parent)
    _discard(part)
    return found


def digest_of(path: Path) -> str:
    """Hex SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def _copy(source: str, part: Path) -> None:
    path = Path(source).expanduser()
    if not path.is_file():
        raise UserError(source, "no such file", "a JSON Lines file, or an http(s) URL")
    shutil.copyfile(path, part)


def _download(url: str, part: Path) -> None:
    """Bring the bytes of `url` into `part`, going on where an earlier try of the same file stopped."""
    request = urllib.request.Request(url, headers={"User-Agent": "vgrout"})
    have = part.stat().st_size if part.exists() else 0
    mark = _mark(part)
    if have and mark.get("url") == url and mark.get("validator"):
        # If-Range: the server sends the rest only of the very file that the part came from, else the whole new one.
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", mark["validator"])
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            start = have if answer.status == 206 else 0
            length = answer.headers.get("Content-Length")
            total = start + int(length) if length else None
            validator = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
            write_whole(_mark_path(part), json.dumps({"url": url, "validator": validator}))
            if start:
                print(f"going on at byte {start}", file=sys.stderr)
            with part.open("ab" if start else "wb") as file:
                while piece := answer.read(CHUNK):
                    file.write(piece)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the part is as long as the file, or longer: it is not a beginning of it
            _discard(part)
            raise UserError(url, "a partial file that the server cannot continue (removed)", "run it again") from None
        raise UserError(url, f"HTTP {error.code} {error.reason}", "a file that the server hands out") from None
    except (http.client.IncompleteRead, urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise _torn(url, part, f"a transfer that broke off ({error})") from None
    if total is not None and part.stat().st_size != total:
        raise _torn(url, part, f"{part.stat().st_size} of {total} bytes")


def _torn(url: str, part: Path, found: str) -> UserError:
    return UserError(url, found, f"the whole file; run it again to go on from {part.name}")


def _check_lines(part: Path, source: str) -> None:
    with part.open("rb") as file:
        count = sum(1 for _ in read_jsonl(part))
        file.seek(max(0, part.stat().st_size - 1))
        whole = file.read() == b"\n"
    if not count or not whole:
        _discard(part)
        raise UserError(source, f"{count} lines{'' if whole else ', the last one without its end'}", "whole JSON lines")


def _mark_path(part: Path) -> Path:
    return part.with_name(part.name + ".from")


def _mark(part: Path) -> dict[str, str]:
    try:
        return json.loads(_mark_path(part).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _mark_path(part).unlink(missing_ok=True)
