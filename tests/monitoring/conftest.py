"""A directory with settings and an empty database."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.scenes import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.create_database()
    return place
