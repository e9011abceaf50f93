"""Prove a jail level by trying to break out of it: a level is claimed only if every one of its canaries is stopped.

Invariant: `prove` returns a Runner whose level all canaries of that level and of those below held for, or raises UserError
with each missing layer's reason. The canaries run as a program in the very jail that programs will run in.
"""

import marshal
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from sandbox.jail import landlock, runtime, seccomp
from sandbox.jail.bubblewrap import find_bubblewrap
from sandbox.jail.frames import BadStream, Kind, read_frames
from sandbox.jail.levels import Level, Limits
from sandbox.jail.linux import require_linux
from sandbox.jail.program import Program, Task
from sandbox.jail.runner import InfraError, Runner
from sandbox.jail.values import text_of
from vgrout.errors import UserError

DEADLINE_S = 30.0
MAX_ANSWER = 4_000
_PROBES = Path(__file__).with_name("probes.py")

# Which probe (a function in probes.py) belongs to which layer; each must answer "stopped".
_LAYERS: dict[str, tuple[Level, tuple[str, ...]]] = {
    "ordinary user": (Level.L1, ("become_root",)),
    "no_new_privs": (Level.L1, ("gain_privileges",)),
    "resource limits": (Level.L1, ("raise_limits", "take_memory", "fork", "thread")),
    "Landlock": (Level.L2, ("read_secret", "list_secret", "create_file", "truncate_secret", "link_result")),
    "seccomp": (
        Level.L2,
        (
            "open_socket",
            "execute",
            "trace_parent",
            "signal_parent",
            "unshare",
            "memfd",
            "pipe",
            "lock",
            "foreign_clock",
            "wake_others",
        ),
    ),
}


@dataclass(frozen=True)
class Proof:
    """What the canaries said of one level: the layers that hold, and why each other one is missing."""

    level: Level
    holds: tuple[str, ...]
    missing: dict[str, str]


def prove(choice: str, limits: Limits, packages: Sequence[str] = runtime.PACKAGES) -> Runner:
    """Return a Runner at the chosen level (`auto`: the strongest that holds, L2 at least). Raises UserError with reasons."""
    levels = {"auto": (Level.L3, Level.L2), "L3": (Level.L3,), "L2": (Level.L2,), "L1": (Level.L1,)}
    require_linux()
    if choice not in levels:
        raise UserError("jail level", repr(choice), "auto, L1 (explicit opt-in), L2 or L3; there is no level without a jail")
    reasons: dict[str, str] = {}
    for level in levels[choice]:
        runner, proof = try_level(level, limits, packages)
        if runner is not None:
            return runner
        reasons |= {f"{level.name} {layer}": reason for layer, reason in proof.missing.items()}
    found = "; ".join(f"{layer}: {reason}" for layer, reason in reasons.items())
    raise UserError(f"jail level {choice}", f"missing layers ({found})", _advice(choice))


def try_level(level: Level, limits: Limits, packages: Sequence[str] = runtime.PACKAGES) -> tuple[Runner | None, Proof]:
    """Start a Runner at one level and test it. Returns (None, proof) where a layer is missing; the Runner is then closed."""
    missing = _prerequisites(level)
    if missing:
        return None, Proof(level, (), missing)
    with tempfile.TemporaryDirectory(prefix="vgrout-canary-") as outside:
        try:
            runner = Runner(level, limits, (Path(outside),), packages)
            proof = _test_and_close_on_error(runner)
        except InfraError as error:
            return None, Proof(level, (), {"start": str(error)})
    if proof.missing:
        runner.close()
        return None, proof
    return runner, proof


def _prerequisites(level: Level) -> dict[str, str]:
    """What can be known without starting anything."""
    missing: dict[str, str] = {}
    if level >= Level.L2 and landlock.abi() == 0:
        missing["Landlock"] = "the kernel has none, or it is switched off (Linux 5.13 or newer with lsm=...,landlock)"
    if level >= Level.L2 and not seccomp.supported_machine():
        missing["seccomp"] = f"no table of system calls for {os.uname().machine} (x86_64 and aarch64 have one)"
    if level >= Level.L3 and find_bubblewrap() is None:
        missing["namespaces"] = "bwrap (bubblewrap) is not installed"
    return missing


def _test_and_close_on_error(runner: Runner) -> Proof:
    try:
        # In the scratch folder, where namespaces do not hide it and file modes allow everything: the jail alone protects it.
        secret = runner.folder / "secret.txt"
        secret.write_text("canary")
        secret.chmod(0o666)
        proof = _test(runner, secret)
        changed = secret.read_text() != "canary"
        secret.unlink()
    except BaseException:
        runner.close()
        raise
    if not changed:
        return proof
    reasons = [reason for reason in (proof.missing.get("Landlock"), "the canary file was changed") if reason]
    return replace(proof, missing=proof.missing | {"Landlock": ", ".join(reasons)})


def _test(runner: Runner, secret: Path) -> Proof:
    layers = {layer: probes for layer, (level, probes) in _LAYERS.items() if level <= runner.level}
    names = ["write_result", *(probe for probes in layers.values() for probe in probes)]
    answers = _ask(runner, names, secret)
    missing: dict[str, str] = {}
    for layer, probes in layers.items():
        through = [f"{probe}: {answers.get(probe, 'no answer')}" for probe in probes if answers.get(probe) != "stopped"]
        if through:
            missing[layer] = ", ".join(through)
    if answers.get("write_result") != "worked":
        missing["result file"] = f"the program cannot write it: {answers.get('write_result', 'no answer')}"
    if runner.level >= Level.L3:
        missing |= _namespace_faults(runner)
        layers["namespaces"] = ()
    return Proof(runner.level, tuple(layer for layer in layers if layer not in missing), missing)


def _ask(runner: Runner, names: list[str], secret: Path) -> dict[str, str]:
    """Run the probes in one child; a probe that ends the child leaves the rest without an answer."""
    inputs = tuple(marshal.dumps(((name, str(secret)), {})) for name in names)
    setup = compile("", "<setup>", "exec", dont_inherit=True)
    program = Program(Task.SOLVE, setup, (_PROBES.read_text(),), "probe", inputs)
    answers: dict[str, str] = {}

    def read(file: BinaryIO) -> None:
        with suppress(BadStream, IndexError):
            for frame in read_frames(file):
                if frame.kind is Kind.VALUE:
                    answers[names[frame.index]] = text_of(frame.payload(MAX_ANSWER))
                elif frame.kind is Kind.RAISED:
                    answers[names[frame.index]] = f"raised {frame.payload(MAX_ANSWER).decode('utf-8', 'replace')}"

    runner.run(program, read, deadline_s=DEADLINE_S)
    return answers


def _namespace_faults(runner: Runner) -> dict[str, str]:
    shared = [kind for kind, number in runner.namespaces.items() if Path("/proc/self/ns", kind).stat().st_ino == number]
    if shared or not runner.namespaces:
        return {"namespaces": f"shared with the host: {', '.join(shared) or 'unknown'}"}
    if runner.sees:
        return {"namespaces": "files of the host are visible inside"}
    return {}


def _advice(choice: str) -> str:
    if choice == "L1":
        return "a Linux machine on which a process may drop its privileges and set its limits"
    return "those layers, or level L1 by explicit choice for code that you trust not to attack the machine"
