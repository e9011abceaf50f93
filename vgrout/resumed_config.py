"""What a resumed run may be told anew: limits, tolerances, deadlines and counts, which cannot change what is learned.

Invariant: run.json holds the configuration that the run goes on with, and `resumed_with` what every change replaced. A prompt
limit that would drop other problems is caught with the data (vgrout/ingredients.py).
"""

import json
import time

from vgrout.config import Config, from_dict
from vgrout.errors import UserError
from vgrout.rows import Row
from vgrout.run_directory import RunDir
from vgrout.toml_tables import merge, parse_set

FREE = {
    "runtime": (
        "slice_s", "restarts", "engine_floor", "suspect_s", "dead_s", "watchdog_s", "stop_s", "engines", "graders",
        "grade_deadline_s", "placement", "engine_memory", "max_num_seqs", "kv_cache_mib", "canary_tolerance", "mismatch_limit",
    ),
    "rollout": ("prompt_limit",),
}  # fmt: skip


def changed(config: Config, sets: list[str], where: str) -> Config:
    """The run's configuration with `--set` laid over it. Raises UserError for a field that decides what is learned."""
    table = config.to_dict()
    for text in sets:
        change = parse_set(text)
        for section, fields in change.items():
            for field in fields if isinstance(fields, dict) else [""]:
                if field not in FREE.get(section, ()):
                    free = ", ".join(f"{name}.{one}" for name, ones in FREE.items() for one in ones)
                    raise UserError(
                        f"--set {text}", "a field that decides what is learned, or none", f"with --resume one of {free}"
                    )
        table = merge(table, change)
    return from_dict(table, where)


def record(run: RunDir, config: Config) -> None:
    """Write a changed configuration into run.json, with what it was before. Nothing to do where nothing changed."""
    about = run.about()
    was, now = flat(about["config"]), flat(config.to_dict())
    fields = [name for name in now if json.dumps(was.get(name)) != json.dumps(now[name])]
    moment = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    changes = [{"time": moment, "name": name, "was": was.get(name), "is": now[name]} for name in fields]
    if changes:
        run.rewrite({**about, "config": config.to_dict(), "resumed_with": [*about.get("resumed_with", []), *changes]})


def flat(table: Row) -> Row:
    """`section.field` -> value."""
    tops = {key: value for key, value in table.items() if not isinstance(value, dict)}
    nested = {f"{key}.{name}": item for key, value in table.items() if isinstance(value, dict) for name, item in value.items()}
    return tops | nested
