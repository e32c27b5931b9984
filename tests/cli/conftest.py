"""A place with settings and a database of its own, and the command line run in it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from convoq.logs import log
from tests.cli.scenes import Place


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """Commands configure the log of their process; here the process goes on."""
    handlers, level = list(logging.getLogger().handlers), logging.getLogger().level
    yield
    structlog.reset_defaults()
    log.follow()
    logging.captureWarnings(False)
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Settings, and no database yet."""
    for name in (
        *("CONVOQ_CONFIG", "CONVOQ_DEBUG", "CREDENTIALS_DIRECTORY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "NO_COLOR"),
        *("COLUMNS",),
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return Place(tmp_path)


@pytest.fixture
def place(bare: Place) -> Place:
    """Settings and an empty database."""
    bare.create_database()
    return bare
