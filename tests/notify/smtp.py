"""A real SMTP server that keeps the mails it takes."""

from __future__ import annotations

import asyncio
import base64
import email
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import policy
from email.message import EmailMessage

from tests.outbound.authority import forwarder


@dataclass
class Mailbox:
    port: int = 0
    starttls: ssl.SSLContext | None = None
    login: tuple[str, str] | None = None  #: that it asks for
    answers: dict[str, str] = field(default_factory=dict)  #: instead of its own, by command; "" is none at all
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    over_tls: list[bool] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._say(writer, "CONNECT", "220 mail.example.test")
        while line := (await reader.readline()).decode().strip():
            command = line.partition(" ")[0].partition(":")[0].upper()
            await self._say(writer, command, self._answer(command, line, writer))
            if command == "STARTTLS" and self.starttls is not None:
                await writer.start_tls(self.starttls)
            elif command == "DATA" and command not in self.answers:
                await self._take(reader, writer)
            elif command == "QUIT":
                return

    def _answer(self, command: str, line: str, writer: asyncio.StreamWriter) -> str:
        if command == "EHLO":
            is_tls = writer.get_extra_info("ssl_object") is not None
            offers = ["mail.example.test", *(["STARTTLS"] if self.starttls and not is_tls else []), "AUTH PLAIN"]
            return "\r\n".join([*(f"250-{one}" for one in offers[:-1]), f"250 {offers[-1]}"])
        if command == "AUTH":
            _, user, password = base64.b64decode(line.split(" ")[2]).decode().split("\0")
            return "235 in" if (user, password) == self.login else "535 5.7.8 wrong password"
        if command == "RCPT":
            self.recipients.append(line.partition("<")[2].rstrip(">"))
        return {"STARTTLS": "220 go on", "DATA": "354 go on", "QUIT": "221 bye"}.get(command, "250 ok")

    async def _say(self, writer: asyncio.StreamWriter, command: str, answer: str) -> None:
        answer = self.answers.get(command, answer)
        if not answer:
            await asyncio.Event().wait()
        writer.write(f"{answer}\r\n".encode())
        await writer.drain()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.readuntil(b"\r\n.\r\n")
        message = email.message_from_bytes(data[:-5], policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.mails.append(message)
        self.over_tls.append(writer.get_extra_info("ssl_object") is not None)
        writer.write(b"250 taken\r\n")
        await writer.drain()


@asynccontextmanager
async def open_mailbox(*, tls: ssl.SSLContext | None = None) -> AsyncIterator[Mailbox]:
    """With `tls` it speaks that from the first byte on."""
    mailbox = Mailbox()
    async with forwarder(mailbox.serve, tls) as port:
        mailbox.port = port
        yield mailbox
