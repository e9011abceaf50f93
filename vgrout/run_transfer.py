"""What leaves a run directory when it is fetched: run.json, the metrics, the evaluation and the deploy export.

Invariant: `collect` returns whole files only (an incomplete last line of a log is left out). `deliver` makes a folder that has
all of them, with the digests that they had at the source, or it makes nothing.
"""

import json
import shutil
import tempfile
from pathlib import Path

from vgrout.errors import UserError
from vgrout.files import fsync_dir, sha256, write_whole

PATTERNS = ("run.json", "metrics.jsonl", "per_mode_deploy.json", "eval_curve.jsonl", "deploy/*")
CARD = "deploy/vgrout.json"
WEIGHTS = "deploy/adapter_model.safetensors"


def collect(run: Path) -> dict[str, tuple[str, bytes]]:
    """{relative name: (sha256, bytes)} of a run's files; empty where there is no run.json."""
    if not (run / "run.json").is_file():
        return {}
    found = {}
    for path in sorted(p for pattern in PATTERNS for p in run.glob(pattern) if p.is_file() and not p.name.startswith(".")):
        data = path.read_bytes()
        if path.suffix == ".jsonl":  # a running job may be writing its last line
            data = data[: data.rfind(b"\n") + 1]
        found[str(path.relative_to(run))] = (sha256(data), data)
    return found


def deliver(files: dict[str, tuple[str, bytes]], dest: Path) -> None:
    """Write the files into the new folder `dest`, whole and checked.

    Raises UserError for an existing destination, bytes that are not those of the source, or weights that are not those
    that the export's own record names.
    """
    if dest.exists():
        raise UserError(str(dest), "an existing file or folder", "a new folder (nothing is overwritten)")
    for name, (digest, data) in files.items():
        if sha256(data) != digest:
            raise UserError(name, f"sha256 {sha256(data)[:12]}...", f"{digest[:12]}..., as it was at the source")
    if "run.json" in files:
        try:
            json.loads(files["run.json"][1])
        except ValueError as error:
            raise UserError("run.json", f"invalid JSON ({error})", "a whole run.json") from None
    if CARD in files and WEIGHTS in files:
        try:
            signed = json.loads(files[CARD][1])["sha256"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(CARD, f"no record of an export ({error})", "vgrout.json as `vgrout train` writes it") from None
        if signed != files[WEIGHTS][0]:
            raise UserError(WEIGHTS, f"sha256 {files[WEIGHTS][0]}", f"{signed}, which {CARD} records")
    dest.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=dest.parent, prefix=f".{dest.name}."))
    try:
        for name, (digest, data) in files.items():
            write_whole(folder / name, data)
            if sha256((folder / name).read_bytes()) != digest:
                raise UserError(str(dest), f"{name} written with other bytes", "a disk that keeps what it is given")
        folder.chmod(0o755)
        folder.rename(dest)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    fsync_dir(dest.parent)
