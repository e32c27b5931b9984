"""What a loopback Twilio knows of each message, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass(slots=True, kw_only=True)
class TwilioMessage:
    """A message at Twilio, of either direction."""

    sid: str
    to: str
    from_: str
    body: str
    created: int  #: wall ms
    direction: Literal["outbound-api", "inbound"] = "outbound-api"
    status: str = "queued"
    error_code: int | None = None
    status_callback: str | None = None
    reference: str | None = None  #: our own id, from the status callback's URL
    messaging_service_sid: str | None = None
    validity_period: int | None = None
    content_sid: str | None = None
    content_variables: str | None = None
    media: Sequence[tuple[str, str]] = ()  #: (URL, content type)
    answers: list[int] = field(default_factory=list)  #: HTTP statuses that its status callbacks got


@dataclass(frozen=True, slots=True)
class Answer:
    """What a webhook answered in the end."""

    status: int | None  #: None: nothing came, within the budget or at all
    text: str = ""
    content_type: str = ""
    tries: int = 1


Event = Literal["message", "status"]
Listener = Callable[[Event, TwilioMessage], None]
Delivery = Sequence[tuple[str, int | None]]
"""The statuses that a sent message goes through after its first one, each with an error code or None."""
