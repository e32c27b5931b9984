"""The options of who is told when something calls for a person, and what can be told."""

from __future__ import annotations

import base64
import binascii
import enum
from typing import Annotated, Final

from pydantic import Field, SecretStr

from convoq.settings.section import Section

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 # what each secret begins with, and none
SHORTEST_KEY, LONGEST_KEY = 24, 64  #: bytes


class Event(enum.StrEnum):
    """What a target can be told of."""

    HANDED_OVER = "conversation.handed_over"
    WAITING_TOO_LONG = "conversation.waiting_too_long"
    CLOSED = "conversation.closed"
    JOB_DEAD = "job.dead"
    PROVIDER_REFUSED = "provider.refused"
    BUDGET_REACHED = "budget.reached"
    LOOP_PAUSED = "loop.paused"
    UNDELIVERED = "message.undelivered"


#: Told unless others are named: what calls for a person.
USUAL_EVENTS: Final = tuple(event for event in Event if event is not Event.CLOSED)


class NotifySettings(Section):
    """Who is told when something calls for a person: a webhook of yours, people by e-mail, or both. docs/notify.md."""

    url: SecretStr | None = Field(default=None, examples=["https://hooks.example.com/convoq"])
    """Where events are posted to, signed as Standard Webhooks describes. Never printed: such addresses often hold a
    key."""

    secret: SecretStr | None = Field(default=None, examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
    """What they are signed with: `convoq notify secret` makes one."""

    events: tuple[Event, ...] = USUAL_EVENTS
    """What is told; "conversation.closed" can be added. For each alarm another event follows when it is over."""

    texts: bool = False
    """Whether a customer's last message, the reason that the AI gave, and errors stand in events."""

    numbers: bool = False
    """Whether customers' numbers stand in events whole, instead of with stars."""

    allow_private: bool = False
    """Whether url may lead to this machine or a private network, also over http."""

    timeout: Annotated[float, Field(gt=0, le=60)] = 10.0
    """Seconds for one request, or one mail, in all."""

    smtp_url: str | None = Field(default=None, examples=["smtps://convoq@mail.example.com"])
    """The server that takes e-mail: smtps:// (TLS, port 465) or smtp:// (STARTTLS, port 587; without TLS only on this
    machine), with the user name before an @."""

    smtp_password: SecretStr | None = Field(default=None, examples=["your-password"])
    """Of that user."""

    mail_from: str | None = Field(default=None, examples=["convoq@example.com"])
    """Whom mails come from."""

    mail_to: tuple[str, ...] = Field(default=(), examples=[["marta@example.com"]])
    """Who gets them."""


def signing_key(secret: str) -> bytes:
    """Raises ValueError, one line, for what is no secret of Standard Webhooks."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith(SECRET_PREFIX) or not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
        raise ValueError(
            f"must be {SECRET_PREFIX} and {SHORTEST_KEY} to {LONGEST_KEY} bytes in base64: convoq notify secret"
        )
    return key
