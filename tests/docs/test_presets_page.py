"""The tables of the presets page: ours is what the presets load, and each value equals its source or the row says why not."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import pytest
import torch

from actors.evaluation import Exam, questions
from learner.objective import TokenTerms, loss
from learner.peft_folder import adapter_config
from sandbox.grading.grader import COMPILE_REWARD, SOLVE_REWARD
from vgrout.config import Config, load
from vgrout.pairs import load as load_pairs

PAGE = (Path(__file__).parents[2] / "docs/presets.md").read_text()
PRESETS = {"4b": "qwen3-4b", "spec": "qwen3-4b-spec", "benchmark": "qwen3-4b-benchmark"}
CONFIGS = {short: load(name, arm="routev") for short, name in PRESETS.items()}
HEAD = ["field", "write-up", "author's code", "benchmark's code", *(f"`{name}`" for name in PRESETS.values()), "why ours differs"]


class Row(NamedTuple):
    """One row; a published value is None where the source has none that could be compared."""

    field: str
    writeup: str | None
    author: str | None
    benchmark: str | None
    ours: dict[str, str]
    why: str

    def source(self, short: str) -> list[str]:
        """The values that this preset may have without a reason; none: anything."""
        if short == "4b":
            return [said for said in (self.writeup, self.author, self.benchmark) if said]
        said = self.benchmark if short == "benchmark" else self.writeup or self.author
        return [said or self.ours["4b"]]


def rows() -> list[Row]:
    cells = [[cell.strip() for cell in line[1:].rstrip("|").split("|")] for line in PAGE.splitlines() if line.startswith("|")]
    found = [[*line, ""][: len(HEAD)] for line in cells if line != HEAD and not line[0].startswith("---")]
    assert all(len(line) == len(HEAD) for line in found)
    return [Row(f.strip("`"), value(w), value(a), value(b), ours(mine), why) for f, w, a, b, *mine, why in found]


def value(cell: str) -> str | None:
    """What stands at the beginning of a published cell; words alone are no value."""
    begins = re.match(r"`([^`]+)`", cell)
    return begins and begins[1]


def ours(cells: list[str]) -> dict[str, str]:
    assert all(re.fullmatch(r"`[^`]+`", cell) for cell in cells), cells
    return {short: cell.strip("`") for short, cell in zip(PRESETS, cells, strict=True)}


ROWS = rows()


def named(row: Row) -> list[str]:
    """The presets that the last column names in bold."""
    return [short for names in re.findall(r"\*\*([^*]+)\*\*:", row.why) for short in names.split(", ")]


def kl_estimator(config: Config) -> str:
    """Which of Schulman's estimators the objective adds, by what it makes of one token."""
    gap = torch.tensor([0.7])
    zero = torch.zeros(1)
    terms = TokenTerms(logprob_C=zero, old_C=zero, reference_C=gap, weight_C=torch.ones(1), advantage_C=zero)
    found, _ = loss(terms, clip=config.objective.clip, kl=1.0, denominator=1.0)
    known = {"k1": -gap, "k2": gap**2 / 2, "k3": gap.exp() - gap - 1}
    return next(name for name, it_is in known.items() if torch.allclose(found, it_is))


def evaluation_top_p(config: Config) -> float:
    """As the requests of an evaluation have it."""
    world = SimpleNamespace(
        test_ids=[1], validation_ids=[], train_ids=[], modes={1: config.data.modes[0]}, prompt=lambda *_, **__: (1,)
    )
    [top_p] = {request.top_p for request in questions(config, cast(Any, world), Exam())}
    return top_p


def scale(config: Config) -> float:
    made = cast(dict[str, Any], adapter_config(config.model.path, config.lora.rank, config.lora.targets))
    return made["lora_alpha"] / made["r"]


LOADED = {
    "KL estimator": kl_estimator,
    "alpha / rank": scale,
    "lora.targets": lambda config: " ".join(name.removesuffix("_proj") for name in config.lora.targets),
    "pairs": lambda config: len(load_pairs(Path(config.data.pairs), config.data.held_out, config.data.pair_tags)),
    "reward, it compiles": lambda _: COMPILE_REWARD,
    "reward, solved or exploited": lambda _: SOLVE_REWARD,
    "data.modes": lambda config: " ".join(config.data.modes),
    "data.test": lambda config: Path(config.data.test).name,
    "top_p in evaluations": evaluation_top_p,
}


def loaded(field: str, config: Config) -> str:
    """What a preset has there, as the page writes it."""
    if field in LOADED:
        return str(LOADED[field](config))
    section, name = field.split(".")
    found = config.to_dict()[section][name]
    if isinstance(found, tuple):
        return f"[{', '.join(map(str, found))}]"
    return str(found).lower() if isinstance(found, bool) else str(found)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.field)
def test_our_columns_are_what_the_presets_load(row: Row):
    assert row.ours == {short: loaded(row.field, config) for short, config in CONFIGS.items()}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.field)
def test_a_preset_equals_its_source_or_the_row_says_why_not(row: Row):
    differing = [short for short in PRESETS if row.source(short) and row.ours[short] not in row.source(short)]
    assert sorted(named(row)) == sorted(differing), {short: (row.ours[short], row.source(short)) for short in PRESETS}


def test_no_difference_is_without_a_reason():
    empty = re.compile(r"\*\*[^*]+\*\*: *(?:no reason[^.;]*)?(?:$|[.;])")
    assert not [row.field for row in ROWS if empty.search(row.why)]


def test_a_field_has_one_row():
    assert len({row.field for row in ROWS}) == len(ROWS)


def test_what_differs_between_the_presets_is_in_a_table():
    tables = [
        {f"{s}.{k}": v for s, part in config.to_dict().items() if isinstance(part, dict) for k, v in part.items()}
        for config in CONFIGS.values()
    ]
    differing = {name for name in tables[0] if len({repr(table[name]) for table in tables}) > 1}
    assert differing and differing <= {row.field for row in ROWS}
