"""A channel: how messages of people reach us and ours reach them, and the webhooks that it calls."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from convoq.errors import ConvoqError
from convoq.jobs import NewJob


class Keyword(enum.StrEnum):
    """A whole message that carriers reserve. Handled before any AI."""

    STOP = "stop"
    START = "start"
    YES = "yes"  #: opts in again after a STOP, and is an ordinary word otherwise
    HELP = "help"


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    url: str
    content_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbound:
    """A message that a person wrote, read from the channel's own form."""

    provider_id: str  #: the channel's id of the message, unique
    channel: str
    our_address: str
    address: str  #: the person's; reply to it verbatim, it need not be a phone number
    text: str  #: what the person wrote, as they wrote it; may be empty
    description: str  #: what the AI reads: the text, or words for a photo, place, button, contact, ...
    media: tuple[Media, ...] = ()
    profile_name: str | None = None
    keyword: Keyword | None = None
    keyword_language: str | None = None  #: the language of that word; None: it is used in all
    carrier_replies: bool = True  #: the carrier answers keywords itself, so convoq must not


class UsedTemplate(NamedTuple):
    """A text that the channel has on record, and what stands in its gaps."""

    sid: str
    variables: str  #: a JSON object of texts, as the channel wants it


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbound:
    """One message to send."""

    reference: str  #: our own id of it; comes back in the delivery status
    our_address: str
    address: str
    body: str
    template: UsedTemplate | None = None  #: sent in the body's stead, which is what the person reads of it


@dataclass(frozen=True, slots=True)
class Sent:
    """The channel has accepted a message."""

    provider_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryStatus:
    """What became of a message that we sent. A later one never has a lower rank."""

    provider_id: str
    status: str  #: the channel's word for it: queued, sent, delivered, read, failed, ...
    rank: int
    failed: bool
    known: bool = True  #: else a word that is new: it takes no other one's place
    error_code: str | None = None
    arrived: bool = False  #: the person has it
    opted_out: bool = False  #: it failed because the person has opted out
    again_after: float | None = None  #: it failed for what may pass: seconds to wait before it is sent once more
    reference: str | None = None


class Failure(enum.StrEnum):
    """Why a send failed, as far as it decides what happens next."""

    NOT_SENT = "not_sent"  #: certainly not processed (429, connection refused): send again after `delay`
    WAIT = "wait"  #: refused for now (queue full, rate): send again after `delay`
    PERMANENT = "permanent"  #: this message will never go through: fail it
    OPTED_OUT = "opted_out"  #: permanent, and the person has opted out
    ACCOUNT = "account"  #: our account is refused (credentials, suspension): hold everything and alarm
    SENDER = "sender"  #: the address that sends is refused (registration): hold what it sends and alarm
    AMBIGUOUS = "ambiguous"  #: may or may not have been accepted: look before sending again


class SendFailed(ConvoqError):
    """The channel did not (certainly) accept the message."""

    def __init__(self, failure: Failure, message: str, *, code: str | None = None, delay: float | None = None) -> None:
        super().__init__(message)
        self.failure = failure
        self.code = code
        self.delay = delay  #: seconds the channel asked us to wait, if it said so


class Listed(NamedTuple):
    """A message that stands on the channel's list."""

    provider_id: str
    address: str  #: the person's
    at: int  #: wall ms, by the channel's clock
    form: tuple[tuple[str, str], ...] = ()  #: of one that a person wrote: what its webhook would have said, as far as
    #: the list knows


class Channel(Protocol):
    """A way to people. Implementations hold one connection pool and close it."""

    name: str

    def parse_inbound(self, form: Sequence[tuple[str, str]]) -> Inbound:
        """Reads a verified form. Raises Unrecoverable when it is not a message at all."""
        ...

    def parse_status(self, form: Sequence[tuple[str, str]], reference: str | None) -> DeliveryStatus:
        """Reads a verified delivery status. Raises Unrecoverable when it is none."""
        ...

    def render(self, markdown: str, address: str) -> str:
        """The text in the markup that is shown at this address. Once: what is rendered is no Markdown any more."""
        ...

    def split(self, text: str, *, most: int | None = None) -> list[str]:
        """The text in parts that the channel accepts; joined they are the text, but for code fences, which each part
        closes for itself. With `most`, what does not fit into that many parts is left out, from a sentence's end on.
        """
        ...

    def airtime(self, our_address: str, body: str) -> float:
        """Seconds that this address of ours takes for the message, by the rate it may send at; 0: there is no limit."""
        ...

    async def send(self, message: Outbound) -> Sent:
        """Asks the channel once, never twice. Raises SendFailed."""
        ...

    async def find(self, message: Outbound, *, age: Callable[[], float]) -> list[Sent]:
        """Messages at the channel with the same addresses, created in the last `age()` seconds, that may be this one.

        Those with the same text come first, oldest first, then those whose text it may have been before the channel
        changed it, the likest first.

        Judged by the channel's clock, not ours. Some slack is added. `age` is called when the answer has come: this
        process, or the whole machine, may have stood still since it asked.

        Raises SendFailed when the channel cannot be asked.
        """
        ...

    def list_received(self, our_address: str, since: int) -> AsyncIterator[Listed]:
        """What people have written to this address since then (wall ms), each message once, newest first.

        Raises SendFailed when the channel cannot be asked.
        """
        ...

    async def list_sent(self, our_address: str, address: str, since: int) -> list[Listed]:
        """What programs have sent to this person since then (wall ms), this one or another. Raises SendFailed."""
        ...

    async def receive(self, listed: Listed, *, answered: bool) -> NewJob:
        """The job that the message's webhook would have made: enqueued beside that one, it is its duplicate.

        Raises SendFailed when the channel cannot be asked for it.
        """
        ...

    async def close(self) -> None: ...


# Tuples: one of each is made per webhook, at half the time of a frozen dataclass.


class WebhookRequest(NamedTuple):
    """A POST as it came, with its whole body."""

    raw_path: str  #: path and query as they stood in the request line
    headers: Mapping[str, str]  #: looked up without regard to case
    media_type: str  #: one of the webhook's media types
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookAnswer:
    """What the channel wants to hear once its request is stored."""

    status: int
    body: bytes | None = None
    content_type: str | None = None


class VerifiedWebhook(NamedTuple):
    """A request that the channel has certainly made."""

    job: NewJob
    log_context: Mapping[str, str]  #: stands with every event that the request logs from here on


class WebhookRefused(ConvoqError):
    """The request is answered with this 4xx, and its reason as text."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class WebhookForged(WebhookRefused):
    """The request does not prove that the channel made it: 403."""

    def __init__(self, verdict: str, reason: str) -> None:
        super().__init__(403, reason)
        self.verdict = verdict  #: for the log: "missing", "forged"


class Webhook(Protocol):
    """A URL that the channel calls. It touches no storage and no network: what it accepts becomes a job."""

    @property
    def path(self) -> str: ...

    @property
    def media_types(self) -> tuple[str, ...]:
        """What the body may be, always in UTF-8; the first is what other senders are told to send."""
        ...

    @property
    def answer(self) -> WebhookAnswer: ...

    def verify(self, request: WebhookRequest) -> VerifiedWebhook:
        """The job that a genuine request becomes. Raises WebhookRefused, or WebhookForged for one that is not."""
        ...
