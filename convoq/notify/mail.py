"""E-mail: one message for each notification, by SMTP."""

from __future__ import annotations

import asyncio
import smtplib
import socket
import ssl
from contextlib import suppress
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from convoq.conversations.notifications import Notification
from convoq.notify.base import Taken, TargetFailed
from convoq.notify.documents import data, summary
from convoq.outbound import is_loopback, tls_context
from convoq.settings.notify import NotifySettings
from convoq.text import printable

MAIL: Final = "mail"
PORTS: Final = {"smtp": 587, "smtps": 465}
MOST_SHOWN: Final = 200
UNFOLDED: Final = SMTP.clone(max_line_length=300)  # some clients show a space where a subject was folded


class SmtpServer(NamedTuple):
    """Where mail is handed in."""

    host: str
    port: int
    user: str | None
    is_tls: bool  #: from the first byte on; else by STARTTLS
    may_be_plain: bool  #: it is this machine

    @classmethod
    def of(cls, url: str) -> SmtpServer:
        parts = urlsplit(url)
        user = unquote(parts.username) if parts.username else None
        host = parts.hostname or ""
        return cls(host, parts.port or PORTS[parts.scheme], user, parts.scheme == "smtps", is_loopback(url))


class Mail:
    """In a thread: the standard library's client blocks. What takes too long is cut off there as well."""

    name = MAIL

    def __init__(self, settings: NotifySettings, url: str) -> None:
        self._settings = settings
        self._server = SmtpServer.of(url)

    @property
    def where(self) -> str:
        return self._server.host

    @property
    def wants_texts(self) -> bool:
        return self._settings.texts

    async def close(self) -> None: ...

    async def send(self, notification: Notification) -> Taken:
        client = self._client()
        handing_in = asyncio.ensure_future(asyncio.to_thread(self._hand_in, client, self._message(notification)))
        try:
            async with asyncio.timeout(self._settings.timeout):
                return await asyncio.shield(handing_in)
        except TimeoutError:
            raise TargetFailed(f"{self.where} was not done within {self._settings.timeout:g} s") from None
        finally:
            _cut_off(client)
            await asyncio.wait({handing_in}, timeout=self._settings.timeout)
            if handing_in.done() and not handing_in.cancelled():
                handing_in.exception()  # it has been told

    def _client(self) -> smtplib.SMTP:
        if self._server.is_tls:
            return smtplib.SMTP_SSL(timeout=self._settings.timeout, context=tls_context())
        return smtplib.SMTP(timeout=self._settings.timeout)

    def _hand_in(self, client: smtplib.SMTP, message: EmailMessage) -> Taken:
        try:
            self._greet(client)
            refused = client.send_message(message)
            client.quit()
        except smtplib.SMTPRecipientsRefused as error:
            raise TargetFailed(
                f"{self.where} takes it for none of {', '.join(error.recipients)}", is_refusal=True
            ) from error
        except smtplib.SMTPResponseException as error:
            answer = printable(_decoded(error.smtp_error))[:MOST_SHOWN]
            said = f"{self.where} refused it with {error.smtp_code}: {answer}"
            raise TargetFailed(said, is_refusal=error.smtp_code >= 500) from error
        except ssl.SSLError as error:
            raise TargetFailed(f"{self.where}: its certificate is not believed: {error.reason}") from error
        except (OSError, smtplib.SMTPException) as error:
            raise TargetFailed(
                f"{self.where} cannot be reached: {type(error).__name__}: {printable(str(error))}"
            ) from error
        finally:
            client.close()
        if refused:
            raise TargetFailed(f"{self.where} takes it, but not for {', '.join(refused)}", is_refusal=True)
        return Taken("accepted")

    def _greet(self, client: smtplib.SMTP) -> None:
        # SMTP_SSL verifies the certificate for it, and connect() alone does not set it.
        client._host = self._server.host  # type: ignore[attr-defined]  # noqa: SLF001 # smtplib has no public way
        code, said = client.connect(self._server.host, self._server.port)
        if code != 220:
            raise smtplib.SMTPConnectError(code, said)
        client.ehlo()
        if not self._server.is_tls and client.has_extn("starttls"):
            client.starttls(context=tls_context())
        elif not self._server.is_tls and not self._server.may_be_plain:
            raise TargetFailed(f"{self.where} offers no TLS: mails, and the password, would be read on their way")
        if self._server.user is not None and self._settings.smtp_password is not None:
            client.login(self._server.user, self._settings.smtp_password.get_secret_value())

    def _message(self, notification: Notification) -> EmailMessage:
        message = EmailMessage(UNFOLDED)
        sentence = summary(notification, self._settings)
        message["Subject"] = f"[convoq] {sentence[:150]}"
        message["From"] = self._settings.mail_from
        message["To"] = ", ".join(self._settings.mail_to)
        message["Date"] = formatdate(notification.wall_at / 1000)
        message["Message-ID"] = f"<{notification.message_id}@convoq.invalid>"
        message["Auto-Submitted"] = "auto-generated"
        facts = data(notification, self._settings)
        lines = [sentence, "", f"event: {notification.event}", *(f"{name}: {value}" for name, value in facts.items())]
        if notification.conversation is not None:
            lines += ["", f"convoq conversations show {notification.conversation.id}"]
        message.set_content("\n".join(lines) + "\n")
        return message


def _decoded(said: bytes | str) -> str:
    return said.decode(errors="replace") if isinstance(said, bytes) else said


def _cut_off(client: smtplib.SMTP) -> None:
    """Wakes the thread out of whatever it waits for."""
    sock: socket.socket | None = getattr(client, "sock", None)
    if sock is not None:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
