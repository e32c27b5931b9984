"""SQL that is written for both databases, as PostgreSQL gets it."""

from __future__ import annotations

import pytest

from convoq.db.postgres.transaction import translate


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("SELECT ?, ?", "SELECT %s, %s"),
        ("SET a = :one WHERE b = :one", "SET a = %(one)s WHERE b = %(one)s"),
        ("source || ':cancelled:?' || id", "source || ':cancelled:?' || id"),
        ("LIKE 'turn:%'", "LIKE 'turn:%%'"),
        ("'it''s :this' || :this", "'it''s :this' || %(this)s"),
        ("SELECT 1 -- or ? or :that\n, ?", "SELECT 1 -- or ? or :that\n, %s"),
        ("a::bigint", "a::bigint"),
        ("instr(body, :text) > 0", "strpos(body, %(text)s) > 0"),
    ],
)
def test_places_become_the_drivers_and_what_is_quoted_stays(written: str, meant: str) -> None:
    assert translate(written) == meant
