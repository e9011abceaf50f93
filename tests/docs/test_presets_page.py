"""The table of the presets page is what the presets load."""

from pathlib import Path

import pytest

from vgrout.config import load

PAGE = Path(__file__).parents[2] / "docs/presets.md"
LINES = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
ROWS = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in LINES]
HEAD, _, *FIELDS = ROWS


@pytest.mark.parametrize("place", range(1, 4), ids=lambda place: HEAD[place])
def test_every_value_is_the_presets(place):
    config = load(HEAD[place], arm="routev").to_dict()
    for row in FIELDS:
        section, name = row[0].split(".")
        value = config[section][name]
        assert row[place] == (str(value).lower() if isinstance(value, bool) else str(value)), row[0]


def test_what_differs_between_the_presets_is_in_the_table():
    tables = [load(name, arm="routev").to_dict() for name in HEAD[1:4]]
    first, *others = [{f"{s}.{k}": v for s, part in t.items() if isinstance(part, dict) for k, v in part.items()} for t in tables]
    differing = {name for other in others for name, value in other.items() if first[name] != value}
    assert differing and differing <= {row[0] for row in FIELDS}
