"""docs/engines.md says what each engine promises, and the engines say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from convoq.queue.base import Capability
from tests.queue.conftest import ENGINES

PAGE = Path(__file__).parents[2] / "docs" / "engines.md"

ALONE = [name for name in ENGINES if "+" not in name]  # what an engine promises is the same beside either store


def rows() -> list[list[str]]:
    """The table of promises, cell by cell; its first row names the engines."""
    table = PAGE.read_text().partition("\n| promise")[2].partition("\n\n")[0]
    lines = re.findall(r"(?m)^\|?(.+)\|$", f"| promise{table}")
    return [[cell.strip() for cell in line.split("|")] for line in lines if "---" not in line]


def test_the_page_has_a_column_for_each_engine() -> None:
    assert [name.lower() for name in rows()[0][2:]] == list(ALONE)


@pytest.mark.parametrize("name", list(ALONE))
def test_an_engine_is_spared_the_tests_of_those_promises_alone_that_the_page_says_it_does_not_make(name: str) -> None:
    column = [each.lower() for each in rows()[0]].index(name)
    missing = [row[1].strip("`") for row in rows()[1:] if row[1] and row[column].startswith("no")]
    assert missing == [each.name for each in Capability if each not in ENGINES[name].capabilities]


def test_the_page_has_a_row_for_each_capability() -> None:
    assert [row[1].strip("`") for row in rows()[1:] if row[1]] == [each.name for each in Capability]
