"""What a run is made of, as this machine has it now: the base's files, the date of its templates, the canary's text.

Invariant: what run.json says of date and canary wins over today's clock and pair file.
"""

from actors.engines.protocol import Canary
from actors.rollouts.dataset import Dataset, canary_of
from learner.base_files import base_digests
from vgrout import ingredients, template_date
from vgrout.config import Config
from vgrout.run_directory import RunDir


def fix_date(run: RunDir | None) -> None:
    """Give chat templates the date of a run; today for a new run, and for one of an older version that recorded none."""
    template_date.fix((run.about().get("template_date") if run else None) or template_date.today())


def canary_for(run: RunDir, dataset: Dataset) -> Canary:
    """The token ids that a run's adapters are checked with: those of run.json where it has them, else of the first pair."""
    known = run.about().get("canary") if (run.path / "run.json").is_file() and run.checkpoints() else None
    return (tuple(known[0]), tuple(known[1])) if known else canary_of(dataset)


def base_here(config: Config) -> dict[str, str]:
    """The base's files under the names that vgrout/ingredients.py compares."""
    return {ingredients.BASE + name: value for name, value in base_digests(config.model.path).items()}


def check_base(run: RunDir, config: Config, command: str, accept: bool) -> None:
    """Raise UserError where the base is not the one that the run was made with."""
    here = base_here(config)
    ingredients.check(run, here, command, accept, places(config, here))


def places(config: Config, names: dict[str, str]) -> dict[str, str]:
    """What to call an ingredient in a message: the path of its file."""
    files = {f"data.{name}": getattr(config.data, name) for name in ("train", "test", "pairs")}
    files |= {"data.teacher": config.teacher.path, "data.warm_start": config.train.warm_start}
    files |= {f"data.loophole.{name}": str(path) for name, path in config.data.plug_ins.items()}
    base = {name: f"{config.model.path}: {name.removeprefix(ingredients.BASE)}" for name in names if "/" in name}
    return files | base
