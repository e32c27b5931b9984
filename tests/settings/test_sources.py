"""Each source is read as it is written, and what is wrong with it is told with its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from convoq.errors import ConfigError
from convoq.settings import Options
from convoq.settings.load import load
from tests.settings.conftest import ACCOUNT, CANARY, SECRET_FILE, Place


def test_lists_and_tables_are_json_in_the_environment(place: Place) -> None:
    place.write('[handlers]\n"a.b" = "m:a"\n')
    loaded = place.load(
        CONVOQ_NUMBERS='[{"address": "+15551230001", "persona": "shop"}]',
        CONVOQ_PERSONAS='[{"name": "shop"}]',
        CONVOQ_HANDLERS='{"c.d": "m:c"}',
        CONVOQ_TWILIO__AUTH_TOKENS='["one", "two"]',
        CONVOQ_SCHEDULES='[{"name": "n", "kind": "a.b", "every": 5}]',
    )
    assert loaded.options.numbers[0].persona == "shop"
    assert loaded.options.handlers == {"a.b": "m:a", "c.d": "m:c"}
    assert [token.get_secret_value() for token in loaded.options.twilio.auth_tokens] == ["one", "two"]
    assert str(loaded.origin("handlers", "a.b")).endswith("convoq.toml:2")
    assert str(loaded.origin("numbers", 0, "address")) == "CONVOQ_NUMBERS"


def test_an_empty_variable_counts_as_not_set(place: Place) -> None:
    assert place.load(CONVOQ_AI__API_KEY="", CONVOQ_NUMBERS="").options == Options()


def test_reserved_names_are_no_settings(place: Place) -> None:
    place.write("")
    loaded = place.load(CONVOQ_CONFIG=str(place.file), CONVOQ_CHROMIUM="/usr/bin/chromium")
    assert loaded.file == place.file


def test_credentials_lose_their_line_break_and_strays_are_ignored(place: Place) -> None:
    (place.credentials / "twilio__auth_token").write_text("token\n")
    (place.credentials / "tls.key").write_text("something else")
    (place.credentials / "directory").mkdir()
    loaded = place.load()
    assert loaded.options.twilio.auth_token is not None
    assert loaded.options.twilio.auth_token.get_secret_value() == "token"


def test_a_misspelt_credential_is_named(place: Place) -> None:
    (place.credentials / "twilio__auth_tokn").write_text(CANARY)
    assert place.problems() == ["credential twilio__auth_tokn: unknown setting. Did you mean twilio__auth_token?"]


def test_credentials_that_are_no_text_or_cannot_be_read_are_errors(place: Place, tmp_path: Path) -> None:
    (place.credentials / "twilio__auth_token").write_bytes(b"\xff\xfe")
    assert place.problems() == ["credential twilio__auth_token: must be UTF-8 text"]
    [line] = place.problems(CREDENTIALS_DIRECTORY=str(tmp_path / "nowhere"))
    assert line == "CREDENTIALS_DIRECTORY: cannot be read: No such file or directory"


def test_the_file_named_by_flag_comes_before_the_one_named_by_the_environment(tmp_path: Path) -> None:
    one, two, three = (tmp_path / f"{name}.toml" for name in "abc")
    for number, file in enumerate((one, two, three), 1):
        file.write_text(f"[server]\nport = {number}\n")
    environ = {"CONVOQ_CONFIG": str(two)}
    assert load(one, environ=environ, searched=(three,)).options.server.port == 1
    assert load(environ=environ, searched=(three,)).options.server.port == 2
    assert load(environ={}, searched=(tmp_path / "none.toml", three)).options.server.port == 3


@pytest.mark.parametrize("by_flag", [True, False])
def test_a_file_that_was_named_must_exist(tmp_path: Path, by_flag: bool) -> None:
    missing = tmp_path / "x.toml"
    with pytest.raises(ConfigError) as caught:
        load(missing if by_flag else None, environ={} if by_flag else {"CONVOQ_CONFIG": str(missing)})
    named_by = "--config" if by_flag else "CONVOQ_CONFIG"
    assert str(caught.value) == f"{named_by}: cannot read {missing}: No such file or directory"


def test_a_directory_in_the_place_of_the_file_is_an_error(place: Place) -> None:
    place.file.mkdir()
    assert place.problems() == ["cannot read convoq.toml: Is a directory"]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("CONVOQ_DATABSE__PATH", "x", "unknown setting. Did you mean CONVOQ_DATABASE__PATH?"),
        ("CONVOQ_PUBLIC_URL", "x", "unknown setting. Did you mean CONVOQ_SERVER__PUBLIC_URL?"),
        ("CONVOQ_QQQQ", "1", "unknown setting"),
        ("CONVOQ_WORK", "{}", "is a table. Set its options one by one, as CONVOQ_WORK__..."),
        ("CONVOQ_WORK__CONCURRENCY", "many", 'must be a whole number, not "many"'),
        ("CONVOQ_NUMBERS", "[", 'must be a JSON list, such as ["...", "..."] (Expecting value, character 2)'),
        ("CONVOQ_NUMBERS", "[" * 100_000, 'must be a JSON list, such as ["...", "..."]'),
        ("CONVOQ_NUMBERS", "{}", "must be a list of tables: write [[numbers]]"),
        ("CONVOQ_NUMBERS", '[{"address": "+15551230001"}]', "numbers[0].persona: must be set"),
        ("CONVOQ_AI__MODEL", "\udc80", "must be UTF-8 text"),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(place: Place, name: str, value: str, expected: str) -> None:
    assert place.problems(None, None, **{name: value}) == [f"{name}: {expected}"]


def test_the_default_database_lies_beside_the_file_wherever_it_is_read(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.write("[database]\nmin_free_mb = 1\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)

    for config in (place.file, Path("../convoq.toml")):
        loaded = load(config, environ={})
        assert loaded.options.database.path.resolve() == tmp_path / "convoq.db"
        assert str(loaded.origin("database", "path")) == "default"


@pytest.mark.parametrize("name", ["COST_PER_CONTACT_DAY", "TOKENS_PER_NUMBER_MONTH"])
@pytest.mark.parametrize("value", ["0", "-1"])
def test_a_ceiling_of_nothing_is_refused_in_the_environment_too(place: Place, name: str, value: str) -> None:
    with pytest.raises(ConfigError, match="must be more than 0, for nobody would get an answer"):
        place.load(None, **{f"CONVOQ_BUDGETS__{name}": value})


def test_a_database_of_the_environment_beats_the_one_beside_the_file(place: Place) -> None:
    place.write("")
    assert place.load(CONVOQ_DATABASE__PATH="other.db").options.database.path == Path("other.db")


def test_a_mistake_in_a_flag_is_told(place: Place) -> None:
    assert place.problems(overrides={"server.port": 99999}) == ["flag: server.port: must be at most 65535, not 99999"]


@pytest.mark.parametrize(
    ("text", "number"), [("[work]\nconcurrency = \n", 2), ("[work]\n\n[work]\n", 3), ("x = 1\ny = [1,\n2\n\n", 3)]
)
def test_what_is_no_toml_is_one_line(place: Place, text: str, number: int) -> None:
    [line] = place.problems(text)
    assert line.startswith(f"convoq.toml:{number}: not valid TOML: ")
    assert "(at " not in line


def test_a_file_that_is_no_utf_8_is_told_with_its_line(place: Place) -> None:
    place.file.write_bytes(b"[server]\nhost = '\xff'\n")
    assert place.problems() == ["convoq.toml:2: not UTF-8 text"]


def test_toml_nested_too_deeply_is_one_line(place: Place) -> None:
    assert place.problems("x = " + "[" * 100_000) == ["convoq.toml: not valid TOML: nested too deeply"]


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(place: Place) -> None:
    place.file.write_bytes("\ufeff[server]\r\nport = 9\r\n".encode())
    loaded = place.load()
    assert loaded.options.server.port == 9
    assert str(loaded.origin("server", "port")).endswith(":2")


def test_paths_in_the_file_start_at_the_file(place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (place.directory / "shop.md").write_text("You are a shop.")
    place.write("[database]\npath = 'data/c.db'\n[[personas]]\nname = 'shop'\nprompt_file = 'shop.md'\n")
    options = place.load().options
    assert options.database.path == place.directory / "data/c.db"
    assert options.personas[0].prompt_file == place.directory / "shop.md"
    assert place.load(CONVOQ_DATABASE__PATH="c.db").options.database.path == Path("c.db")


@pytest.mark.parametrize("mode", [0o644, 0o604])
def test_a_file_with_a_secret_that_others_can_read_is_refused(place: Place, mode: int) -> None:
    place.write(SECRET_FILE, mode)
    [line] = place.problems()
    assert line.startswith(
        "convoq.toml:3: twilio.auth_token: a secret in a file that other users can read. Run: chmod 6"
    )
    assert line.endswith("0 convoq.toml")


def test_a_file_without_secrets_may_be_read_by_anybody(place: Place) -> None:
    place.write(f"[twilio]\naccount_sid = '{ACCOUNT}'\n", 0o644)
    assert place.load(CONVOQ_TWILIO__AUTH_TOKEN="x").options.twilio.account_sid == ACCOUNT


def test_a_group_may_read_secrets_in_a_file_of_roots_only(place: Place) -> None:
    place.write(SECRET_FILE, 0o640)
    if place.file.stat().st_uid != 0:
        assert "chmod 600" in place.problems()[0]
        return
    assert place.load().options.twilio.auth_token is not None
    os.chown(place.file, 12345, 12345)
    assert "chmod 600" in place.problems()[0]
