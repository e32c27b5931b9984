"""A database with a table of the tests' own."""

from __future__ import annotations

import pytest

from convoq.db import Database


@pytest.fixture
async def notes(database: Database) -> Database:
    """With a table `notes (text)`."""
    await database.write(lambda connection: connection.execute("CREATE TABLE notes (text TEXT UNIQUE) STRICT"))
    return database
