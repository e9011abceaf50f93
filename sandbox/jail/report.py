"""What `vgrout doctor` says of the jail: which levels hold on this machine, and why a missing layer is missing.

Invariant: every line comes from canaries that ran just now; nothing is inferred from a kernel version.
"""

from sandbox.jail import cgroups
from sandbox.jail.canaries import try_level
from sandbox.jail.levels import Level, Limits


def jail_report() -> list[str]:
    """One line per level, strongest first, then the level that `auto` takes. Takes about half a second."""
    lines: list[str] = []
    chosen = ""
    for level in sorted(Level, reverse=True):
        runner, proof = try_level(level, Limits())
        if runner is not None:
            runner.close()
            lines.append(f"jail {level.name}: holds ({', '.join(proof.holds)})")
            chosen = chosen or level.name
        else:
            lines += [f"jail {level.name}: missing {layer}: {reason}" for layer, reason in proof.missing.items()]
    auto = {"L3": "L3", "L2": "L2", "L1": "none (L1 only by explicit choice)"}.get(chosen, "none: grading is refused")
    return [*lines, cgroups.describe(), f"jail level taken by auto: {auto}"]
