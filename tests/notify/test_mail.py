"""What calls for a person reaches a mailbox, over TLS wherever it leaves this machine."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from convoq.conversations.notifications import Notification
from convoq.db import Database
from convoq.db.postgres.store import PostgresDatabase
from convoq.notify.base import TargetFailed
from convoq.notify.mail import Mail, SmtpServer
from convoq.outbound import _tls_context
from convoq.settings.notify import NotifySettings
from tests.clock import ManualClock
from tests.handlers.house import House, open_house
from tests.handlers.who_answers.chats import PERSON_PLEASE, ask_for_person
from tests.handovers import HANDOVER
from tests.notify.smtp import Mailbox, open_mailbox
from tests.outbound.authority import Authority, make_authority

NOTIFICATION = Notification(1, "msg_1", "job.dead", 1_800_000_000_000, 0, {"kind": "remind", "job": "7"}, None)
HOST = "localhost"


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    async with open_mailbox() as mailbox:
        yield mailbox


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"), HOST)


@pytest.fixture
def tls(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """Of a server whose authority this machine believes."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.chain, authority.key)
    return context


def settings(port: int, scheme: str = "smtp", **changed: object) -> NotifySettings:
    given = {
        "smtp_url": f"{scheme}://{HOST}:{port}", "mail_from": "convoq@example.com",
        "mail_to": ("marta@example.com", "luis@example.com"), "timeout": 5,
    }  # fmt: skip
    return NotifySettings.model_validate(given | changed)


async def send(given: NotifySettings) -> str:
    assert given.smtp_url is not None
    try:
        return (await Mail(given, given.smtp_url).send(NOTIFICATION)).answer
    except TargetFailed as error:
        return str(error)


async def test_a_hand_over_is_one_mail_without_texts_and_numbers(
    database: Database | PostgresDatabase, clock: ManualClock, mailbox: Mailbox
) -> None:
    async with open_house(database, clock, handover=HANDOVER, notify=settings(mailbox.port)) as house:
        conversation_id = await ask_for_person(house)
        await house.tell()
        [mail] = mailbox.mails
        said = "with whatsapp:+1555***0001 waits for a person: asked"
        assert mail["Subject"] == f"[convoq] Conversation {conversation_id} {said}"
        assert mail["To"] == "marta@example.com, luis@example.com"
        assert mailbox.recipients == ["marta@example.com", "luis@example.com"]
        assert f"convoq conversations show {conversation_id}" in mail.get_content()
        assert PERSON_PLEASE not in mail.get_content()
        await take_and_tell(house, conversation_id)
        assert mailbox.mails[1]["Subject"].endswith("does not wait for a person any more: Marta")


async def take_and_tell(house: House, conversation_id: int) -> None:
    await house.acts("Marta").take_over(conversation_id)
    await house.tell()


async def test_a_mail_that_is_not_taken_comes_once_more_under_the_same_id(
    database: Database | PostgresDatabase, clock: ManualClock, mailbox: Mailbox
) -> None:
    mailbox.answers = {"DATA": "451 4.3.0 try again"}
    async with open_house(database, clock, handover=HANDOVER, notify=settings(mailbox.port)) as house:
        await ask_for_person(house)
        await house.tell()
        [target] = await house.notifications.targets()
        assert target.error == "localhost refused it with 451: 4.3.0 try again"
        [(message_id,)] = await house.rows("SELECT message_id FROM notifications")
        mailbox.answers = {}
        house.clock.advance(await house.due_in() or 0)
        await house.step()
        assert mailbox.mails[0]["Message-ID"] == f"<{message_id}@convoq.invalid>"


async def test_starttls_is_used_where_it_is_offered(mailbox: Mailbox, tls: ssl.SSLContext) -> None:
    mailbox.starttls = tls
    mailbox.login = ("convoq@example.com", "geheim")
    given = settings(
        mailbox.port, smtp_url=f"smtp://convoq%40example.com@{HOST}:{mailbox.port}", smtp_password=SecretStr("geheim")
    )
    assert await send(given) == "accepted"
    assert mailbox.over_tls == [True]


async def test_a_server_with_tls_from_the_first_byte_takes_it(tls: ssl.SSLContext) -> None:
    async with open_mailbox(tls=tls) as mailbox:
        assert await send(settings(mailbox.port, "smtps")) == "accepted"
        assert mailbox.over_tls == [True]


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_a_certificate_of_another_host_is_refused(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_authority(tmp_path, "mail.example.test")
    monkeypatch.setenv("SSL_CERT_FILE", str(other.certificate))
    _tls_context.cache_clear()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(other.chain, other.key)
    async with open_mailbox(tls=context if scheme == "smtps" else None) as mailbox:
        mailbox.starttls = context
        said = await send(settings(mailbox.port, scheme))
        assert said == "localhost: its certificate is not believed: CERTIFICATE_VERIFY_FAILED"
        assert mailbox.mails == []


async def test_nothing_leaves_this_machine_in_plain_text(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = SmtpServer(HOST, mailbox.port, None, is_tls=False, may_be_plain=False)
    monkeypatch.setattr(SmtpServer, "of", lambda _: elsewhere)
    assert await send(settings(mailbox.port)) == (
        "localhost offers no TLS: mails, and the password, would be read on their way"
    )
    assert mailbox.mails == []


async def test_a_wrong_password_is_told_with_the_servers_words(mailbox: Mailbox) -> None:
    mailbox.login = ("convoq", "right")
    given = settings(mailbox.port, smtp_url=f"smtp://convoq@{HOST}:{mailbox.port}", smtp_password=SecretStr("wrong"))
    assert await send(given) == "localhost refused it with 535: 5.7.8 wrong password"


@pytest.mark.parametrize("silent_at", ["CONNECT", "EHLO", "MAIL", "DATA", "QUIT"])
async def test_a_server_that_falls_silent_costs_its_time_limit(mailbox: Mailbox, silent_at: str) -> None:
    mailbox.answers = {silent_at: ""}
    began = time.monotonic()
    assert await send(settings(mailbox.port, timeout=0.5)) == "localhost was not done within 0.5 s"
    assert time.monotonic() - began < 60


async def test_one_recipient_that_is_not_taken_is_named(mailbox: Mailbox) -> None:
    mailbox.answers = {"RCPT": "550 5.1.1 no such user"}
    assert await send(settings(mailbox.port)) == "localhost takes it for none of marta@example.com, luis@example.com"
