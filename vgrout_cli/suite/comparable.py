"""Whether the runs of a suite are comparable: all arms of a seed share problems, order, initial adapter and sampling seeds.

Invariant: only what defines an arm may differ between the runs of a seed (DIFFERS); everything else, compared by digest
where it is data, is equal, or a UserError names the run and the field.
"""

import json
from pathlib import Path

from vgrout.errors import UserError
from vgrout.records import Mode
from vgrout.rows import Row
from vgrout.run_directory import RunDir
from vgrout_cli.suite.plan import Job

# Fields that may differ between arms. `data.*` paths are compared by digest; `runtime` says where a run ran.
DIFFERS = (
    "arm", "gate.", "lora.deploy", "objective.baseline", "data.loopholes", "data.pair_tags", "data.held_out",
    "rollout.deploy_fraction", "rollout.heal_updates", "rollout.sampled_with", "rollout.trained_with", "relaxed.", "runtime.",
)  # fmt: skip
BY_DIGEST = ("data.train", "data.test", "data.pairs")
FACTS = ("digests", "base", "initial_adapter_digest", "validation_ids", "order_digest")


def check_own(job: Job) -> None:
    """Raise UserError where the run that is there was made with another configuration than the suite's."""
    here = flatten(RunDir.open(job.path).config().to_dict())
    for field, wanted in flatten(job.config.to_dict()).items():
        if field == "data.modes":
            here[field], wanted = names(here[field]), names(wanted)
        moved = field in BY_DIGEST or field == "gate.reference_run"  # a suite's folder may have been moved
        if here[field] != wanted and not moved and not field.startswith("runtime."):
            raise UserError(
                f"{job.path / 'run.json'}: {field}", f"{here[field]!r}", f"{wanted!r}, as in the suite (or another --out)"
            )


def check_seed(jobs: list[Job]) -> None:
    """Compare the existing runs of one seed with each other. Raises UserError naming run and field."""
    seen: dict[str, tuple[object, Path]] = {}
    for path in (job.path for job in jobs if (job.path / "run.json").is_file()):
        for field, value in _decisive(path, RunDir.open(path).about()).items():
            other, first = seen.setdefault(field, (value, path))
            if value != other:
                raise UserError(f"{path / 'run.json'}: {field}", _short(value), f"{_short(other)}, as in {first}")


def names(modes: list[str]) -> list[str]:
    """Loopholes by name: the file of a plug-in may have been moved, and is compared by its digest."""
    return [Path(one).stem if one.endswith(".py") else one for one in modes]


def flatten(table: Row, prefix: str = "") -> Row:
    """Nested dicts as {"a.b": value}; tuples as lists, as JSON has them."""
    flat: Row = {}
    for key, value in table.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: json.loads(json.dumps(value))}
    return flat


def _decisive(path: Path, about: Row) -> Row:
    """The fields of run.json that all arms of a seed share. Without loopholes the ids are shared, but not their modes."""
    config = flatten(about["config"])
    kept = {k: v for k, v in config.items() if not k.startswith(DIFFERS) and k not in BY_DIGEST}
    if kept["train.updates"] == 0:  # the base: the same in all but its length
        del kept["train.updates"]
    kept["data.modes"] = names(kept["data.modes"])
    facts = {name: about.get(name) for name in FACTS}
    digests = dict(facts["digests"] or {})  # an arm may have pairs of its own; those of one file name are the same
    facts |= {"digests": digests, f"pairs {Path(str(config['data.pairs'])).name}": digests.pop("pairs", None)}
    facts["problem ids"] = sorted(about["partition"], key=int)
    if config["data.loopholes"]:
        facts["partition"] = about["partition"]
    elif Mode.GT_ONLY not in about["partition"].values():  # its test problems may have them: all arms are asked the same
        found = "a loophole for every problem of a run without loopholes"
        raise UserError(f"{path / 'run.json'}: partition", found, f"{Mode.GT_ONLY} for the training problems")
    return kept | facts


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
