"""Where settings come from, which one wins, and that every mistake is told: where it is, and no secret with it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from convoq.errors import ConfigError
from convoq.settings import Options
from convoq.settings.load import Loaded, load

CANARY = "canary-7f3a9c"
ACCOUNT = "AC" + 32 * "a"


class Place:
    """A directory with a convoq.toml in it, and an environment of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file = directory / "convoq.toml"
        self.credentials = directory / "credentials"
        self.credentials.mkdir()

    def write(self, text: str, mode: int = 0o600) -> None:
        self.file.write_text(text)
        self.file.chmod(mode)

    def load(self, overrides: Mapping[str, Any] | None = None, **environ: str) -> Loaded:
        environ = {"CREDENTIALS_DIRECTORY": str(self.credentials), **environ}
        return load(environ=environ, overrides=overrides, searched=(self.file,))

    def problems(
        self, text: str | None = None, overrides: Mapping[str, Any] | None = None, **environ: str
    ) -> list[str]:
        if text is not None:
            self.write(text)
        with pytest.raises(ConfigError) as caught:
            self.load(overrides, **environ)
        assert caught.value.exit_code == 78
        return str(caught.value).replace(f"{self.directory}/", "").splitlines()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


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


def test_a_list_of_the_environment_replaces_the_whole_list_of_the_file(place: Place) -> None:
    place.write('[[personas]]\nname = "a"\n[[personas]]\nname = "b"\nmodel = "offline"\n')
    loaded = place.load(CONVOQ_PERSONAS='[{"name": "c"}]')
    assert [persona.name for persona in loaded.options.personas] == ["c"]
    assert str(loaded.origin("personas", 0, "name")) == "CONVOQ_PERSONAS"


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
    ("text", "line", "expected"),
    [
        ("[work]\n\nconcurency = 3", 3, 'work.concurency: unknown setting. Did you mean "concurrency"?'),
        ("[databse]\npath = 'x'", 1, 'databse: unknown setting. Did you mean "database"?'),
        ("port = 3", 1, 'port: unknown setting. Did you mean "server.port"?'),
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


PERSONA = "[[personas]]\nname = 'shop'\n"
NUMBER = PERSONA + "[[numbers]]\naddress = '{}'\npersona = '{}'\n"
SCHEDULE = "[[schedules]]\nname = 'n'\nkind = 'process_idle'\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            NUMBER.format("+15551230001", "shpo"),
            'numbers[0].persona: none of [[personas]] has this name. Did you mean "shop"?',
        ),
        (PERSONA + "prompt_file = 'no.md'", 'personas[0].prompt_file: cannot read "no.md": No such file or directory'),
        (PERSONA + "agent = 'mybot'", 'personas[0].agent: must look like "module:attribute"'),
        (
            PERSONA + "agent = 'mybot:a'\nmodel = 'offline'",
            "personas[0].agent: takes the place of prompt_file and model: give it alone",
        ),
        (SCHEDULE, "schedules[0]: needs every or cron"),
        (SCHEDULE + "every = 1\ncron = '* * * * *'", "schedules[0]: has every and cron: give one of them"),
        (SCHEDULE + "cron = '* * * * * *'", 'schedules[0].cron: must be five fields, such as "0 9 * * mon-fri"'),
        (SCHEDULE + "cron = '61 * * * *'", "schedules[0].cron: is not a cron expression: Bad minute"),
        (SCHEDULE + "cron = '0 0 30 2 *'", "schedules[0].cron: is not a cron expression: Bad day-of-month"),
        (
            SCHEDULE + "every = 1\ntimezone = 'Europe/Madird'",
            'schedules[0].timezone: no such time zone. Did you mean "Europe/Madrid"?',
        ),
        (SCHEDULE + "every = 1\ntimezone = '../../etc/passwd'", "schedules[0].timezone: no such time zone"),
        (
            "[[schedules]]\nname = 'n'\nkind = 'proces_idle'\nevery = 1",
            'schedules[0].kind: no handler of this kind. Did you mean "process_idle"?',
        ),
        (
            "[[schedules]]\nname = 'n n'\nkind = 'process_idle'\nevery = 1",
            "schedules[0].name: may only hold letters, digits, underscores, dots and hyphens",
        ),
        (
            "[[schedules]]\nname = 'n'\nkind = 'send_message'\nevery = 1\npayload = {address = 'x', our_address = 'y'}",
            "schedules[0].payload: does not suit send_message: body: field required",
        ),
        (
            SCHEDULE + "every = 1\npayload = {at = 2026-01-01}",
            "schedules[0].payload: must be JSON: text, finite numbers, true and false, lists and tables",
        ),
    ],
)
def test_what_does_not_fit_is_told(place: Place, text: str, expected: str) -> None:
    [line] = place.problems(text)
    assert line.split(": ", 1)[1] == expected


@pytest.mark.parametrize("address", ["+1 555", "whatsapp:15551230001", "whatsapp:", "Shop"])
def test_an_address_is_as_twilio_writes_it(place: Place, address: str) -> None:
    [line] = place.problems(NUMBER.format(address, "shop"))
    assert line.endswith('numbers[0].address: must be as Twilio writes it: "whatsapp:+14155238886" or "+15551234567"')


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://bot.example.com", None),
        ("https://bot.example.com:8443/", None),
        ("http://127.0.0.1:8080", None),
        ("http://localhost", None),
        ("http://[::1]:80", None),
        ("http://bot.example.com", "must be https: http is for this machine alone"),
        ("https://bot.example.com/hook", "must be scheme and host alone, without a path"),
        ("https://bot.example.com?x=1", "must not hold a query or fragment (? or #)"),
        ("https://bot.example.com#", "must not hold a query or fragment (? or #)"),
        (f"https://user:{CANARY}@bot.example.com", "must not hold a user name or password"),
        ("bot.example.com", "must start with https:// and a host"),
        ("https://", "must start with https:// and a host"),
        ("https://[::1", "is not a URL"),
        ("https://bot.example.com:x", "is not a URL"),
    ],
)
def test_the_public_url_is_scheme_and_host(place: Place, url: str, expected: str | None) -> None:
    if expected is None:
        assert place.load(CONVOQ_SERVER__PUBLIC_URL=url).options.server.public_url == url.rstrip("/")
    else:
        assert place.problems(CONVOQ_SERVER__PUBLIC_URL=url) == [f"CONVOQ_SERVER__PUBLIC_URL: {expected}"]


def test_a_twilio_api_in_the_clear_is_for_this_machine_alone(place: Place) -> None:
    assert place.load(CONVOQ_TWILIO__API_BASE_URL="http://127.0.0.1:4010").options.twilio.api_base_url.endswith("4010")
    [line] = place.problems(CONVOQ_TWILIO__API_BASE_URL="http://api.example.com")
    assert line == "CONVOQ_TWILIO__API_BASE_URL: must be https: http is for this machine alone"


def test_a_model_on_the_local_network_needs_no_https(place: Place) -> None:
    assert place.load(CONVOQ_AI__BASE_URL="http://ollama:11434/v1").options.ai.base_url == "http://ollama:11434/v1"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("CONVOQ_DATABSE__PATH", "x", "unknown setting. Did you mean CONVOQ_DATABASE__PATH?"),
        ("CONVOQ_PORT", "1", "unknown setting. Did you mean CONVOQ_SERVER__PORT?"),
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


def test_a_mistake_in_a_flag_is_told(place: Place) -> None:
    assert place.problems(overrides={"server.port": 99999}) == ["flag: server.port: must be at most 65535, not 99999"]


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


def test_a_prompt_must_say_something(place: Place) -> None:
    (place.directory / "shop.md").write_text(" \n")
    assert place.problems(PERSONA + "prompt_file = 'shop.md'") == [
        'convoq.toml:3: personas[0].prompt_file: "shop.md" is empty: write the persona\'s instructions into it'
    ]


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b"\xef\xbb\xbf \n", "is empty"),
        (b"x" * 262_145, "is larger than 256 KiB"),
        (b"a\xe9o", "is not UTF-8 text (byte 1)"),
    ],
)
def test_a_prompt_is_judged_as_the_worker_reads_it(place: Place, content: bytes, wrong: str) -> None:
    (place.directory / "shop.md").write_bytes(content)
    [line] = place.problems(PERSONA + "prompt_file = 'shop.md'")
    assert line.startswith(f'convoq.toml:3: personas[0].prompt_file: "shop.md" {wrong}')


def test_the_built_in_persona_can_be_named(place: Place) -> None:
    place.write("[[numbers]]\naddress = '+15551230001'\npersona = 'default'\n")
    assert place.load().options.numbers[0].persona == "default"


def test_attributes_of_attributes_can_be_named(place: Place) -> None:
    place.write(PERSONA + "agent = 'mybot:bots.shop'\n[handlers]\n'a.b' = 'my.mod:jobs.note'\n")
    assert place.load().options.personas[0].agent == "mybot:bots.shop"
    assert len(place.problems("[handlers]\n'a' = 'mybot:bots.'\n'b' = 'mybot:.bots'\n")) == 2


SECRET_FILE = f"[twilio]\naccount_sid = '{ACCOUNT}'\nauth_token = '{CANARY}'\n"


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


def test_a_secret_with_a_line_break_in_it_is_refused(place: Place) -> None:
    [line] = place.problems(CONVOQ_AI__API_KEY=f"{CANARY}\nX: y")
    assert line == "CONVOQ_AI__API_KEY: must not hold spaces or line breaks"
