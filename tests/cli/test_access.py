"""`convoq operators token`, `tokens` and `revoke`."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest

from tests.cli.scenes import Place


def tokens(place: Place, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert place.run("operators", "tokens", "--json") == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["tokens"]
    return found


@pytest.fixture
def marta(place: Place) -> Place:
    assert place.run("operators", "add", "Marta") == 0
    return place


def test_a_token_is_shown_once_and_kept_as_its_hash(marta: Place, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert marta.run("operators", "token", "marta", "--role", "operator", "--as", "Ben") == 0
    printed = capsys.readouterr()
    made = printed.out.strip()
    assert (made[:4], len(made)) == ("cvq_", 47)
    assert printed.err == "Token 1 of Marta, operator. It is shown only now: keep it like a password.\n"
    assert marta.execute("SELECT hash FROM access_tokens") == [(sha256(made.encode()).hexdigest(),)]
    assert made.encode() not in (marta.directory / "convoq.db").read_bytes()
    [listed] = tokens(marta, capsys)
    assert (listed["operator"], listed["role"], listed["made_by"]) == ("Marta", "operator", "Ben")
    assert (listed["used_at"], listed["revoked_at"], "token" in listed) == (None, None, False)


def test_for_programs_it_is_one_document(marta: Place, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert marta.run("operators", "token", "Marta", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["role"], document["token"][:4]) == ("viewer", "cvq_")


def test_only_an_operator_gets_one(marta: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert marta.run("operators", "token", "Luis") == 1
    assert "Luis is no operator: convoq operators add Luis" in capsys.readouterr().err
    assert marta.execute("SELECT count(*) FROM access_tokens") == [(0,)]


def test_a_token_is_revoked_once(marta: Place, capsys: pytest.CaptureFixture[str]) -> None:
    marta.run("operators", "token", "Marta")
    assert marta.run("operators", "revoke", "1", "--as", "Ben") == 0
    assert capsys.readouterr().err.endswith("token 1 of Marta is revoked\n")
    assert marta.run("operators", "revoke", "1") == 1
    assert "token 1 was revoked before, by Ben" in capsys.readouterr().err
    assert marta.run("operators", "revoke", "2") == 1
    assert "there is no token 2" in capsys.readouterr().err
    assert [one["revoked_by"] for one in tokens(marta, capsys)] == ["Ben"]


def test_who_is_removed_loses_their_tokens_and_added_again_has_none_of_them(
    marta: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    marta.run("operators", "token", "Marta")
    for verb in ("remove", "add"):
        assert marta.run("operators", verb, "Marta", "--as", "Ben") == 0
    assert [one["revoked_by"] for one in tokens(marta, capsys)] == ["Ben"]


def test_both_are_on_record(marta: Place) -> None:
    marta.run("operators", "token", "Marta", "--role", "admin", "--as", "Ben")
    marta.run("operators", "revoke", "1", "--as", "Ben")
    assert marta.execute("SELECT who, act, subject, detail FROM audit WHERE id > 1 ORDER BY id") == [
        ("Ben", "issue_token", "operator:Marta", "1, admin"), ("Ben", "revoke_token", "operator:Marta", "1"),
    ]  # fmt: skip


def test_people_are_shown_when_each_was_used(marta: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert marta.run("operators", "tokens") == 0
    assert "There are none" in capsys.readouterr().err
    marta.run("operators", "token", "Marta")
    capsys.readouterr()
    assert marta.run("operators", "tokens") == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:3] == ["1", "Marta", "viewer"]
