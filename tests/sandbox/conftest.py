"""Fixtures of the sandbox tests: warm graders, and the shared benchmark data where it is there."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from shared_data import SHARED

from sandbox.grading.grader import Grader
from sandbox.problems.load import load
from vgrout.records import Problem


@pytest.fixture(scope="session")
def grader() -> Iterator[Grader]:
    with Grader("auto", 10.0) as made:
        yield made


@pytest.fixture(scope="session")
def quick() -> Iterator[Grader]:
    """For programs that run into their deadline."""
    with Grader("L2", 1.0) as made:
        yield made


@pytest.fixture(scope="session")
def shared_problems() -> list[Problem]:
    path = SHARED / "leetcode_medhard_half.jsonl"
    if not path.is_file():
        pytest.skip("the shared benchmark problems are not on this machine")
    return load(path)


@pytest.fixture(scope="session")
def recorded() -> list[dict[str, Any]]:
    path = SHARED / "recorded_rollouts_half.jsonl"
    if not path.is_file():
        pytest.skip("the recorded rollouts are not on this machine")
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, list[Any]], Path]:
    """Write a JSON Lines file; text rows are written as they are."""

    def put(name: str, rows: list[Any]) -> Path:
        path = tmp_path / name
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        return path

    return put
