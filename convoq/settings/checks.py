"""What must hold between settings, and in the world outside them: a violation for each rule that does not hold."""

from __future__ import annotations

import json
import re
import ssl
import unicodedata
import zoneinfo
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel, SecretStr, ValidationError

from convoq.errors import ConfigError
from convoq.hours import OpeningHours
from convoq.jobs import BUILT_IN
from convoq.outbound import is_loopback
from convoq.plugins import REFERENCE
from convoq.settings.notices import BUILT_IN as BUILT_IN_SENTENCES
from convoq.settings.notices import LONGEST_SENTENCE, OPTIONAL, sentences
from convoq.settings.notify_rules import notify_flaws
from convoq.settings.options import (
    DatabaseSettings,
    Options,
    RedisSettings,
    ScheduleSettings,
)
from convoq.settings.people import DEFAULT_PERSONA, NumberSettings, PersonaSettings
from convoq.settings.problems import dotted, nearest, quoted
from convoq.settings.prompts import read_prompt
from convoq.settings.schema import KeyPath
from convoq.text import printable


class Violation(NamedTuple):
    """A rule that a setting breaks, and the other settings that the rule reads."""

    path: KeyPath
    message: str
    needs: tuple[KeyPath, ...] = ()


_PHONE: Final = re.compile(r"\+[1-9][0-9]{6,14}|[0-9]{3,8}")
_SCHEMED: Final = re.compile(r"whatsapp:\+[1-9][0-9]{6,14}|(?!whatsapp:)[a-z]+:\S+")


def violations(options: Options) -> Iterator[Violation]:
    """Everything that is wrong with options whose types are right."""
    yield from _texts(options, ())
    yield from _addresses_of_services(options)
    yield from _database(options.database)
    yield from _redis(options.redis)
    yield from _pairs(options)
    yield from _prompt(("ai", "prompt_file"), options.ai.prompt_file)
    persona_names = list(dict.fromkeys([DEFAULT_PERSONA, *(persona.name for persona in options.personas)]))
    for index, number in enumerate(options.numbers):
        yield from _number(("numbers", index), number, persona_names)
    for index, persona in enumerate(options.personas):
        yield from _persona(("personas", index), persona)
    for index, schedule in enumerate(options.schedules):
        yield from _schedule(("schedules", index), schedule, options.handlers)
    yield from _notices(options)
    for path, message, needs in notify_flaws(options.notify):
        yield Violation(("notify", *path), message, tuple(("notify", name) for name in needs))
    yield from _budgets(options)
    yield from _duplicates(options)
    yield from _handlers(options.handlers)


def _texts(value: object, path: KeyPath) -> Iterator[Violation]:
    """Nothing is empty, and nothing holds what only a slip of the clipboard puts there."""
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            # A payload is the handler's business.
            if name != "payload":
                yield from _texts(getattr(value, name), (*path, name))
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))
    elif isinstance(value, SecretStr):
        yield from _text(value.get_secret_value(), path, str.isspace, "spaces or line breaks")
    elif isinstance(value, str | Path):
        text = "" if value == Path() else str(value)
        yield from _text(text, path, lambda char: unicodedata.category(char) == "Cc", "control characters")


def _text(text: str, path: KeyPath, forbidden: Callable[[str], bool], what: str) -> Iterator[Violation]:
    if not text:
        yield Violation(path, "must not be empty: give it a value or leave it out")
    elif any("\ud800" <= char <= "\udfff" for char in text):
        yield Violation(path, "must be UTF-8 text")
    elif any(forbidden(char) for char in text):
        yield Violation(path, f"must not hold {what}")


def _addresses_of_services(options: Options) -> Iterator[Violation]:
    if options.server.public_url and (wrong := _wrong_url(options.server.public_url, secure=True)):
        yield Violation(("server", "public_url"), wrong)
    if options.twilio.api_base_url and (wrong := _wrong_url(options.twilio.api_base_url, secure=True)):
        yield Violation(("twilio", "api_base_url"), wrong)
    for name in ("base_url", "fallback_base_url"):
        url = getattr(options.ai, name)
        if url and (wrong := _wrong_url(url)):
            yield Violation(("ai", name), wrong)


def _wrong_url(url: str, *, secure: bool = False) -> str | None:
    """What is wrong, without the URL itself: it may hold a password."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme not in ("http", "https") or not parts.hostname or any(char.isspace() for char in url):
        return "must start with https:// and a host" if secure else "must start with http:// or https:// and a host"
    if "@" in parts.netloc:
        return "must not hold a user name or password"
    if "?" in url or "#" in url:
        return "must not hold a query or fragment (? or #)"
    if secure and parts.scheme != "https" and not is_loopback(url):
        return "must be https: http is for this machine alone"
    return None


def _database(database: DatabaseSettings) -> Iterator[Violation]:
    for name in ("url", "direct_url"):
        url = getattr(database, name)
        if url and (wrong := _wrong_postgres_url(url)):
            yield Violation(("database", name), wrong)


def _wrong_postgres_url(url: str) -> str | None:
    """As _wrong_url."""
    try:
        parts = urlsplit(url)
        is_local = parts.hostname is None
        _ = parts.port if "," not in parts.netloc else None  # libpq takes several hosts
        given = parse_qs(parts.query, keep_blank_values=True)
    except ValueError:
        return "is not a URL"
    if parts.password is not None or "password" in given:
        return "must not hold a password: that is database.password"
    if parts.scheme not in ("postgresql", "postgres") or any(char.isspace() for char in url):
        return "must be postgresql://USER@HOST:PORT/DATABASE"
    if (is_local and "host" not in given) or len(parts.path) < 2:
        return "must name a host and a database, as in postgresql://convoq@127.0.0.1:5432/convoq"
    return "must not hold a fragment (#)" if parts.fragment else None


def _redis(redis: RedisSettings) -> Iterator[Violation]:
    if wrong := _wrong_redis_url(redis.url):
        yield Violation(("redis", "url"), wrong)
    if wrong := _wrong_authority(redis):
        yield Violation(("redis", "ca_file"), wrong)
    if set(redis.prefix) & set("{}"):
        yield Violation(("redis", "prefix"), "must not hold { or }: it stands between them in the names of keys")
    if redis.username and not redis.password:
        yield Violation(("redis", "username"), "needs redis.password", (("redis", "password"),))


def _wrong_authority(redis: RedisSettings) -> str | None:
    if redis.ca_file is None:
        return None
    if not redis.url.startswith("rediss://"):
        return "is for a redis.url that begins with rediss://"
    try:
        ssl.create_default_context(cafile=redis.ca_file)
    except ssl.SSLError:
        return f"{redis.ca_file} holds no certificate in PEM"
    except OSError as error:
        return f"{redis.ca_file} cannot be read: {error.strerror}"
    return None


def _wrong_redis_url(url: str) -> str | None:
    """As _wrong_url."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "is not a URL"
    if parts.username is not None or parts.password is not None:
        return "must not hold a user name or password: they are redis.username and redis.password"
    is_socket = parts.scheme == "unix" and parts.path.startswith("/") and not parts.netloc
    if not is_socket and not (parts.scheme in ("redis", "rediss") and parts.hostname):
        return "must be redis://HOST:PORT/NUMBER, rediss:// the same with TLS, or unix:///PATH/OF/SOCKET"
    if parts.query or parts.fragment:
        return "must not hold a query or fragment (? or #)"
    if not is_socket and not re.fullmatch(r"(/[0-9]*)?", parts.path):
        return "must end with the number of a database, as in redis://127.0.0.1:6379/0"
    return None


def _pairs(options: Options) -> Iterator[Violation]:
    conversation, queue = options.conversation, options.queue
    yield from _not_less("conversation", "max_wait", "quiet_window", conversation.max_wait, conversation.quiet_window)
    if conversation.expire_after <= conversation.idle_after:
        yield Violation(
            ("conversation", "expire_after"),
            "must be more than conversation.idle_after",
            (("conversation", "idle_after"),),
        )
    yield from _not_less("queue", "backoff_cap", "backoff_base", queue.backoff_cap, queue.backoff_base)
    # A turn may ask the model and then its fallback; a handler that is cut off before costs an attempt for nothing.
    if options.work.deadline <= 2 * options.ai.timeout:
        yield Violation(("work", "deadline"), "must be more than twice ai.timeout", (("ai", "timeout"),))


def _not_less(section: str, more: str, less: str, value: float, least: float) -> Iterator[Violation]:
    if value < least:
        yield Violation((section, more), f"must be at least {section}.{less} ({least:g})", ((section, less),))


def _number(path: KeyPath, number: NumberSettings, personas: Sequence[str]) -> Iterator[Violation]:
    if not (_PHONE.fullmatch(number.address) or _SCHEMED.fullmatch(number.address)):
        yield Violation((*path, "address"), 'must be as Twilio writes it: "whatsapp:+14155238886" or "+15551234567"')
    if number.persona not in personas:
        yield Violation(
            (*path, "persona"),
            f"none of [[personas]] has this name{_did_you_mean(number.persona, personas)}",
            (("personas",),),
        )
    if number.timezone is not None:
        yield from _zone((*path, "timezone"), number.timezone)
    for name, lines in (("hours", number.hours), ("holidays", number.holidays)):
        for line in lines:
            try:
                OpeningHours(**{"hours": (), "holidays": ()} | {name: (line,)}, zone=UTC)
            except ValueError as error:
                yield Violation((*path, name), str(error))
    if number.out_of_hours != "answer" and not number.hours:
        yield Violation(
            (*path, "out_of_hours"), "needs hours: without them somebody is always there", ((*path, "hours"),)
        )


def _notices(options: Options) -> Iterator[Violation]:
    known = set.intersection(*(set(sentences(options.notices, reason)) for reason in BUILT_IN_SENTENCES))
    languages = [(("numbers", index, "language"), number.language) for index, number in enumerate(options.numbers)]
    for path, language in [(("notices", "language"), options.notices.language), *languages]:
        if language is not None and language not in known:
            given = f"{', '.join(f'notices.{reason}' for reason in BUILT_IN_SENTENCES)} need a sentence in it"
            yield Violation(path, f"is not built in ({', '.join(sorted(known))}): {given}", (("notices",),))
    for name in (*BUILT_IN_SENTENCES, *OPTIONAL):
        yield from _sentences(("notices", name), getattr(options.notices, name))


def _sentences(path: KeyPath, texts: Mapping[str, str]) -> Iterator[Violation]:
    for language, text in texts.items():
        if len(text) > LONGEST_SENTENCE:
            yield Violation(path, f"{language}: must be at most {LONGEST_SENTENCE} characters")


def _budgets(options: Options) -> Iterator[Violation]:
    yield from _zone(("budgets", "timezone"), options.budgets.timezone)
    least = options.ai.max_output_tokens
    for name in ("tokens_per_contact_day", "tokens_per_number_day", "tokens_per_number_month"):
        ceiling = getattr(options.budgets, name)
        if ceiling is not None and ceiling <= least:
            limit = ("ai", "max_output_tokens")
            yield Violation(
                ("budgets", name), f"must be more than one answer may cost: {dotted(limit)} ({least})", (limit,)
            )


def _zone(path: KeyPath, name: str) -> Iterator[Violation]:
    if not _is_zone(name):
        yield Violation(path, f"no such time zone{_did_you_mean(name, zoneinfo.available_timezones())}")


def _persona(path: KeyPath, persona: PersonaSettings) -> Iterator[Violation]:
    if persona.agent is not None:
        if not REFERENCE.fullmatch(persona.agent):
            yield Violation((*path, "agent"), 'must look like "module:attribute"')
        if persona.prompt_file or persona.model:
            yield Violation((*path, "agent"), "takes the place of prompt_file and model: give it alone")
    yield from _prompt((*path, "prompt_file"), persona.prompt_file)
    yield from _sentences((*path, "handed_over"), persona.handed_over)


def _prompt(path: KeyPath, file: Path | None) -> Iterator[Violation]:
    if file is None:
        return
    try:
        read_prompt(file)
    except ConfigError as error:
        yield Violation(path, str(error))


def _schedule(path: KeyPath, schedule: ScheduleSettings, handlers: dict[str, str]) -> Iterator[Violation]:
    if schedule.name in BUILT_IN:
        yield Violation((*path, "name"), "is taken by convoq itself: choose another")
    if (schedule.every is None) == (schedule.cron is None):
        yield Violation(
            path, "needs every or cron" if schedule.every is None else "has every and cron: give one of them"
        )
    if schedule.cron is not None and (wrong := _wrong_cron(schedule.cron)):
        yield Violation((*path, "cron"), wrong)
    yield from _zone((*path, "timezone"), schedule.timezone)
    if schedule.kind not in BUILT_IN and schedule.kind not in handlers:
        yield Violation(
            (*path, "kind"),
            f"no handler of this kind{_did_you_mean(schedule.kind, [*BUILT_IN, *handlers])}",
            (("handlers",),),
        )
    for wrong in _wrong_payload(schedule):
        yield Violation((*path, "payload"), wrong)


def _wrong_cron(expression: str) -> str | None:
    from cronsim import CronSim, CronSimError

    if len(expression.split()) != 5:
        return 'must be five fields, such as "0 9 * * mon-fri"'
    try:
        CronSim(expression, datetime.now(UTC))
    except CronSimError as error:
        return f"is not a cron expression: {error}"
    except (AssertionError, TypeError, ValueError, RecursionError):
        return "is not a cron expression"
    return None


def _is_zone(name: str) -> bool:
    if name == "UTC":
        return True  # also where no time zone data is installed
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _wrong_payload(schedule: ScheduleSettings) -> Iterator[str]:
    try:
        json.dumps(schedule.payload, allow_nan=False)
        if schedule.kind in BUILT_IN:
            BUILT_IN[schedule.kind].model_validate(schedule.payload, extra="forbid")
    except ValidationError as error:
        for fault in error.errors(include_input=False, include_url=False):
            yield printable(f"does not suit {schedule.kind}: {dotted(fault['loc'])}: {fault['msg'].lower()}")
    except (TypeError, ValueError):
        yield "must be JSON: text, finite numbers, true and false, lists and tables"


def _duplicates(options: Options) -> Iterator[Violation]:
    """The later of two that share what must be their own."""
    own = (
        ("numbers", "address"),
        ("personas", "name"),
        ("schedules", "name"),
        ("prices", "model"),
        ("templates", "sid"),
    )
    for table, key in own:
        seen: set[str] = set()
        for index, item in enumerate(getattr(options, table)):
            value = getattr(item, key)
            if value in seen:
                yield Violation((table, index, key), f"{quoted(value)} is there twice")
            seen.add(value)


def _handlers(handlers: dict[str, str]) -> Iterator[Violation]:
    for kind, target in handlers.items():
        if kind in BUILT_IN:
            yield Violation(("handlers", kind), "is a kind that convoq handles itself: choose another name")
        if not kind or not kind.isprintable():
            yield Violation(("handlers", kind), "a kind is plain text and not empty")
        if not REFERENCE.fullmatch(target):
            yield Violation(("handlers", kind), 'must look like "module:attribute"')


def _did_you_mean(name: str, names: Sequence[str] | set[str]) -> str:
    meant = nearest(name, names)
    return f". Did you mean {quoted(meant)}?" if meant else ""
