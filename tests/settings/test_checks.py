"""What does not fit together, or does not fit the world, is told."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from convoq.settings import Options
from convoq.settings.notices import BUILT_IN
from convoq.settings.problems import _PATTERNS
from convoq.settings.schema import SECTIONS, TABLE_LISTS
from tests.settings.conftest import CANARY, Place

PERSONA = "[[personas]]\nname = 'shop'\n"
NUMBER = PERSONA + "[[numbers]]\naddress = '{}'\npersona = '{}'\n"
PRICE = "[[prices]]\nmodel = 'm'\ninput = 1\n"
TEMPLATE = "[[templates]]\nname = '{}'\nsid = '{}'\ntext = 'x'"
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
        (
            "[database]\nurl = 'postgresql://convoq:s3cret@db/convoq'",
            "database.url: must not hold a password: that is database.password",
        ),
        (
            "[database]\nurl = 'postgresql://db/convoq?password=s3cret'",
            "database.url: must not hold a password: that is database.password",
        ),
        ("[database]\nurl = 'mysql://db/convoq'", "database.url: must be postgresql://USER@HOST:PORT/DATABASE"),
        (
            "[database]\nurl = 'postgresql://db'",
            "database.url: must name a host and a database, as in postgresql://convoq@127.0.0.1:5432/convoq",
        ),
        (
            "[database]\ndirect_url = 'postgresql:///convoq'",
            "database.direct_url: must name a host and a database, as in postgresql://convoq@127.0.0.1:5432/convoq",
        ),
        (
            "[redis]\nurl = 'http://cache'",
            "redis.url: must be redis://HOST:PORT/NUMBER, rediss:// the same with TLS, or unix:///PATH/OF/SOCKET",
        ),
        (
            "[redis]\nurl = 'redis://:s3cret@cache'",
            "redis.url: must not hold a user name or password: they are redis.username and redis.password",
        ),
        (
            "[redis]\nurl = 'redis://cache/x'",
            "redis.url: must end with the number of a database, as in redis://127.0.0.1:6379/0",
        ),
        ("[redis]\nprefix = 'a{b}'", "redis.prefix: must not hold { or }: it stands between them in the names of keys"),
        (
            "[redis]\nurl = 'redis://cache'\nca_file = '/etc/hostname'",
            "redis.ca_file: is for a redis.url that begins with rediss://",
        ),
        (
            "[redis]\nurl = 'rediss://cache'\nca_file = '/nowhere/ca.pem'",
            "redis.ca_file: /nowhere/ca.pem cannot be read: No such file or directory",
        ),
        (
            "[redis]\nurl = 'rediss://cache'\nca_file = '/etc/hostname'",
            "redis.ca_file: /etc/hostname holds no certificate in PEM",
        ),
        ("[redis]\nusername = 'convoq'", "redis.username: needs redis.password"),
        ("[budgets]\ntimezone = 'Europe/Madird'", 'budgets.timezone: no such time zone. Did you mean "Europe/Madrid"?'),
        (
            "[budgets]\ncost_per_contact_day = 0",
            "budgets.cost_per_contact_day: must be more than 0, for nobody would get an answer: leave it out for no "
            "ceiling, or stop convoq work",
        ),
        (
            "[budgets]\ntokens_per_number_day = -1",
            "budgets.tokens_per_number_day: must be more than 0, for nobody would get an answer: leave it out for no "
            "ceiling, or stop convoq work",
        ),
        (
            "[budgets]\ntokens_per_contact_day = 2000",
            "budgets.tokens_per_contact_day: must be more than one answer may cost: ai.max_output_tokens (2000)",
        ),
        (
            "[[templates]]\nname = 'a b'\nsid = 'HX" + 32 * "0" + "'\ntext = 'x'",
            "templates[0].name: must hold no space and no { or }",
        ),
        (
            "[[templates]]\nname = 'a'\nsid = 'HX1'\ntext = 'x'",
            "templates[0].sid: must be HX and 32 of the characters 0-9 and a-f",
        ),
        ("[budgets]\ncost_per_contact_day = true", "budgets.cost_per_contact_day: must be a number, not true"),
        ("[budgets]\ncost_per_contact_day = 'a lot'", 'budgets.cost_per_contact_day: must be a number, not "a lot"'),
        ("[budgets]\ncost_per_contact_day = nan", "budgets.cost_per_contact_day: must be a number, not nan"),
        ("[budgets]\ncurrency = 'euro'", "budgets.currency: must be three capital letters, such as USD"),
        (PRICE + "output = -1", "prices[0].output: must be at least 0, not -1"),
        (PRICE + "output = 0.0000001", "prices[0].output: must have at most six decimals"),
        (PRICE + "output = 1\n" + PRICE + "output = 2", 'prices[1].model: "m" is there twice'),
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
            NUMBER.format("+15551230001", "shop") + "timezone = 'Europe/Madird'",
            'numbers[0].timezone: no such time zone. Did you mean "Europe/Madrid"?',
        ),
        (
            NUMBER.format("+15551230001", "shop") + "hours = ['mon 9-18']",
            'numbers[0].hours: "mon 9-18": "9-18" are no times; expected e.g. 09:00-18:00',
        ),
        (
            NUMBER.format("+15551230001", "shop") + "holidays = ['xmas']",
            'numbers[0].holidays: "xmas" is no date; expected e.g. "2026-12-24", or "12-25" for each year',
        ),
        (
            NUMBER.format("+15551230001", "shop") + "out_of_hours = 'message'",
            "numbers[0].out_of_hours: needs hours: without them somebody is always there",
        ),
        (
            "[notices]\nlanguage = 'it'\nfailed = {it = 'Scusi.'}",
            "notices.language: is not built in (de, en, es, fr, pt): "
            "notices.delayed, notices.refused, notices.failed, notices.budget, notices.opted_out, notices.handed_over, "
            "notices.unable, notices.paused, notices.nobody_free, notices.closed, notices.goodbye, "
            "notices.ai_disclosure need a sentence in it",
        ),
        (
            NUMBER.format("+15551230001", "shop") + "language = 'english'",
            "numbers[0].language: is not built in (de, en, es, fr, pt): "
            "notices.delayed, notices.refused, notices.failed, notices.budget, notices.opted_out, notices.handed_over, "
            "notices.unable, notices.paused, notices.nobody_free, notices.closed, notices.goodbye, "
            "notices.ai_disclosure need a sentence in it",
        ),
        (
            f"[notices]\nfailed = {{en = '{1001 * 'x'}'}}",
            "notices.failed: en: must be at most 1000 characters",
        ),
        (
            f"[[personas]]\nname = 'shop'\nhanded_over = {{en = '{1001 * 'x'}'}}",
            "personas[0].handed_over: en: must be at most 1000 characters",
        ),
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
            "[[schedules]]\nname = 'n'\nkind = 'process_idle'\nevery = 1\npayload = {adress = 'x'}",
            "schedules[0].payload: does not suit process_idle: adress: extra inputs are not permitted",
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
        ("https://example.com/bot/", None),
        ("https://bot.example.com?x=1", "must not hold a query or fragment (? or #)"),
        ("https://bot.example.com#", "must not hold a query or fragment (? or #)"),
        (f"https://user:{CANARY}@bot.example.com", "must not hold a user name or password"),
        ("bot.example.com", "must start with https:// and a host"),
        ("https://", "must start with https:// and a host"),
        ("https://[::1", "is not a URL"),
        ("https://bot.example.com:x", "is not a URL"),
    ],
)
def test_the_public_url_is_where_twilio_reaches_us(place: Place, url: str, expected: str | None) -> None:
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


def test_a_prompt_must_say_something(place: Place) -> None:
    (place.directory / "shop.md").write_text(" \n")
    assert place.problems(PERSONA + "prompt_file = 'shop.md'") == [
        'convoq.toml:3: personas[0].prompt_file: "shop.md" is empty: write into it who answers and how'
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


def test_a_secret_with_a_line_break_in_it_is_refused(place: Place) -> None:
    [line] = place.problems(CONVOQ_AI__API_KEY=f"{CANARY}\nX: y")
    assert line == "CONVOQ_AI__API_KEY: must not hold spaces or line breaks"


def test_a_language_of_ones_own_needs_all_sentences(place: Place) -> None:
    given = "".join(f"{reason} = {{it = 'Scusi.'}}\n" for reason in BUILT_IN)
    place.write(f"[notices]\nlanguage = 'it'\n{given}")
    assert place.load().options.notices.language == "it"


def test_every_pattern_of_the_settings_is_told_in_words() -> None:
    models: list[type[BaseModel]] = [Options, *SECTIONS.values(), *TABLE_LISTS.values()]
    fields = [field for model in models for field in model.model_fields.values()]
    patterns = {part.pattern for field in fields for part in field.metadata if getattr(part, "pattern", None)}
    assert patterns - set(_PATTERNS) == set()
    assert patterns
