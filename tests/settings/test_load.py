"""Which source of a setting wins, and that every mistake is told: where it is, and no secret with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from convoq.errors import ConfigError
from convoq.settings import Options
from tests.settings.conftest import CANARY, SECRET_FILE, Place


def test_without_any_source_the_defaults_hold(place: Place) -> None:
    loaded = place.load()
    assert loaded.options == Options()
    assert loaded.file is None
    assert str(loaded.origin("server", "port")) == "default"


def test_flag_beats_environment_beats_credential_beats_file(place: Place) -> None:
    place.write("[server]\nport = 1\nhost = 'a'\n[work]\nconcurrency = 1\n[queue]\nmax_attempts = 1\n")
    for name in ("server__host", "work__concurrency", "queue__max_attempts"):
        (place.credentials / name).write_text("2\n")
    loaded = place.load(
        {"queue.max_attempts": 4, "server.port": None}, CONVOQ_WORK__CONCURRENCY="3", CONVOQ_QUEUE__MAX_ATTEMPTS="3"
    )
    options = loaded.options
    assert (options.server.port, options.server.host) == (1, "2")
    assert (options.work.concurrency, options.queue.max_attempts) == (3, 4)
    assert str(loaded.origin("server", "port")) == f"{place.file}:2"
    assert str(loaded.origin("server", "host")) == "credential server__host"
    assert str(loaded.origin("work", "concurrency")) == "CONVOQ_WORK__CONCURRENCY"
    assert str(loaded.origin("queue", "max_attempts")) == "flag"


SERVER = "postgresql://convoq@db/convoq"


def test_a_file_and_a_server_in_one_place_are_refused(place: Place) -> None:
    text = f"[database]\npath = 'a.db'\nurl = '{SERVER}'\n"
    assert place.problems(text) == ["convoq.toml:3: database.url: stands beside database.path: give one of them"]


def test_of_a_file_and_a_server_the_one_in_the_place_that_comes_first_holds(place: Place) -> None:
    place.write("[database]\npath = 'a.db'\n")
    assert place.load(CONVOQ_DATABASE__URL=SERVER).options.database.url == SERVER
    place.write(f"[database]\nurl = '{SERVER}'\ndirect_url = '{SERVER}'\n")
    database = place.load(CONVOQ_DATABASE__PATH="b.db").options.database
    assert (database.path, database.url, database.direct_url) == (Path("b.db"), None, None)


def test_a_list_of_the_environment_replaces_the_whole_list_of_the_file(place: Place) -> None:
    place.write('[[personas]]\nname = "a"\n[[personas]]\nname = "b"\nmodel = "offline"\n')
    loaded = place.load(CONVOQ_PERSONAS='[{"name": "c"}]')
    assert [persona.name for persona in loaded.options.personas] == ["c"]
    assert str(loaded.origin("personas", 0, "name")) == "CONVOQ_PERSONAS"


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("[work]\n\nconcurency = 3", 3, 'work.concurency: unknown setting. Did you mean "concurrency"?'),
        ("[databse]\npath = 'x'", 1, 'databse: unknown setting. Did you mean "database"?'),
        ('public_url = "x"', 1, 'public_url: unknown setting. Did you mean "server.public_url"?'),
        ("[server]\nqqqqqq = 3", 2, "server.qqqqqq: unknown setting"),
        ("queue.max_attempts = 0", 1, "queue.max_attempts: must be at least 1, not 0"),
        ("[queue]\nmax_attempts = 101", 2, "queue.max_attempts: must be at most 100, not 101"),
        ("[queue]\nmax_attempts = true", 2, "queue.max_attempts: must be a number, not true"),
        ("[queue]\nmax_attempts = 1.5", 2, "queue.max_attempts: must be a whole number, not 1.5"),
        ("queue = { max_attempts = 'x' }", 1, 'queue.max_attempts: must be a whole number, not "x"'),
        ("[ai]\ntimeout = 0", 2, "ai.timeout: must be more than 0, not 0"),
        ("[ai]\ntimeout = inf", 2, "ai.timeout: must be a number, not inf"),
        ("[server]\nhost = 1", 2, "server.host: must be text in quotes"),
        ("[server]\nhost = ''", 2, "server.host: must not be empty: give it a value or leave it out"),
        ("[database]\npath = ''", 2, "database.path: must not be empty: give it a value or leave it out"),
        ("[database]\npath = 'a\\u0000'".replace("'", '"'), 2, "database.path: must not hold control characters"),
        ("[log]\nlevel = 'loud'", 2, 'log.level: must be one of "debug", "info", "warning" or "error", not "loud"'),
        ("twilio = 3", 1, "twilio: must be one table: write [twilio]"),
        ("[[server]]\nport = 3", 1, "server: must be one table: write [server]"),
        ("[numbers]\naddress = '+15551230001'", 1, "numbers: must be a list of tables: write [[numbers]]"),
        ("numbers = [3]", 1, "numbers[0]: must be a table"),
        ("handlers = 3", 1, "handlers: must be a table"),
        ("[[personas]]\nmodel = 'm'", 1, "personas[0].name: must be set"),
        ("[[personas]]\nname = 'a'\n[[personas]]\nname = 'a'", 4, 'personas[1].name: "a" is there twice'),
        ("[twilio]\naccount_sid = 'AC1'", 2, "twilio.account_sid: must be AC and 32 of the characters 0-9 and a-f"),
        ("[conversation]\nmax_wait = 1", 2, "conversation.max_wait: must be at least conversation.quiet_window (2.5)"),
        ("[conversation]\nexpire_after = 9", 2, "conversation.expire_after: must be more than conversation.idle_after"),
        ("[work]\ndeadline = 60", 2, "work.deadline: must be more than twice ai.timeout"),
        (
            "[[schedules]]\nname = 'housekeeping'\nkind = 'housekeeping'\nevery = 60",
            2,
            "schedules[0].name: is taken by convoq itself: choose another",
        ),
        (
            "[handlers]\nprocess_idle = 'm:a'",
            2,
            "handlers.process_idle: is a kind that convoq handles itself: choose another name",
        ),
        ("[handlers]\n'a.b' = 'm.a'", 2, 'handlers."a.b": must look like "module:attribute"'),
        ('[handlers]\n"a\\nb\\u001b" = 3', 2, 'handlers."a\\nb\\x1b": must be text in quotes'),
    ],
)
def test_a_mistake_is_told_with_its_line(place: Place, text: str, line: int, expected: str) -> None:
    assert place.problems(text) == [f"convoq.toml:{line}: {expected}"]


def test_every_problem_is_told_at_once_from_the_top_of_the_file(place: Place) -> None:
    text = """\
[work]
concurency = 3
[server]
public_url = "ftp://x"
port = "x"
[conversation]
max_wait = 1
[[schedules]]
name = "a b"
kind = "process_idle"
[[schedules]]
name = "b"
kind = "process_idle"
cron = "x"
[handlers]
process_idle = "m:a"
"""
    lines = place.problems(text, CONVOQ_LOG__LEVL="info", overrides={"queue.max_attempts": 0})
    assert [line.split(": ")[0] for line in lines] == [
        *(f"convoq.toml:{line}" for line in (2, 4, 5, 7, 9, 14, 16)),
        "CONVOQ_LOG__LEVL",
        "flag",
    ]


def test_a_wrong_value_makes_nothing_else_look_wrong(place: Place) -> None:
    text = "[conversation]\nquiet_window = 'x'\nmax_wait = 1\n[[personas]]\nnam = 'shop'\n" + (
        "[[numbers]]\naddress = '+15551230001'\npersona = 'shop'\n"
    )
    lines = place.problems(text)
    assert [line.split(": ")[1] for line in lines] == [
        "conversation.quiet_window",
        "personas[0].name",
        "personas[0].nam",
    ]


@pytest.mark.parametrize(
    "text",
    [
        f"twilio = '{CANARY}'",
        f"[twilio]\nauth_token = ['{CANARY}']",
        f"[twilio]\nauth_token = {{ value = '{CANARY}' }}",
        f"[twilio]\nauth_tokens = '{CANARY}'",
        f"[twilio]\nauth_tokens = ['{CANARY}', 3, '{CANARY} ']",
        f"[twilio]\nauth_tokn = '{CANARY}'",
        f"[twilio]\naccount_sid = '{CANARY}'",
        f"[twilio]\napi_key_sid = '{CANARY}'\napi_key_secret = '{CANARY}'",
        f"[ai]\napi_key = '{CANARY}\\n'\nmodel = 3".replace("'", '"'),
        f"[ai]\nbase_url = 'http://u:{CANARY}@h/v1'",
        f"[ai]\nbase_url = 'http://h/v1?key={CANARY}'",
        f"[ai]\napi_key = {CANARY}",
        f"[ai]\napi_key = '{CANARY}'\napi_key = '{CANARY}'",
    ],
)
def test_no_secret_appears_in_an_error(place: Place, text: str) -> None:
    assert CANARY not in "\n".join(place.problems(text))


@pytest.mark.parametrize(
    "value", [CANARY, f'["{CANARY}', f'"{CANARY}"', f'[["{CANARY}"]]', json.dumps({CANARY: CANARY})]
)
def test_no_secret_of_the_environment_appears_in_an_error(place: Place, value: str) -> None:
    assert CANARY not in "\n".join(place.problems(CONVOQ_TWILIO__AUTH_TOKENS=value))


def test_the_error_carries_nothing_behind_its_lines(place: Place) -> None:
    place.write(f"[twilio]\nauth_token = ['{CANARY}']\n")
    with pytest.raises(ConfigError) as caught:
        place.load()
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_no_secret_appears_in_the_repr_of_what_was_loaded(place: Place) -> None:
    place.write(
        SECRET_FILE + f"auth_tokens = ['{CANARY}']\n[ai]\napi_key = '{CANARY}'\nfallback_api_key = '{CANARY}'\n"
    )
    assert CANARY not in repr(place.load())
    assert CANARY not in str(place.load().options)
