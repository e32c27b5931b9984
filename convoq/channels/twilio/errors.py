"""What Twilio's answers and error codes mean for a message: the table, and words for operators."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

from convoq.channels.base import Failure, SendFailed

_LONGEST_WAIT_SECONDS: Final = 3600.0  # a longer Retry-After than this is asked again in between


class Refused(Exception):
    """Twilio answered with an error. Unlike the SDK's exceptions it keeps Retry-After and knows both error formats."""

    def __init__(self, status: int, code: int | None, message: str, retry_after: str | None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after = retry_after


class Unreadable(Exception):
    """Twilio, or something that stands in for it, answered with something that is no answer."""


class Meaning(NamedTuple):
    """What a code decides, and what to do about it in plain words."""

    failure: Failure
    hint: str
    delay: float | None = None  #: seconds to wait before another try, if it is worth one


def send_failed(refused: Refused, *, now: int) -> SendFailed:
    """A refusal as the outcome of a send; `now` is the wall clock in ms."""
    failure, delay = _outcome(refused)
    asked = retry_after(refused.retry_after, now=now)
    code = str(refused.code or refused.status)
    return SendFailed(failure, f"{refused} ({code})", code=code, delay=delay if asked is None else asked)


def meaning(code: str | int | None) -> Meaning | None:
    """What the table says about a code, of an answer or of a delivery status; None when it does not know it."""
    try:
        return CODES.get(int(code or 0))
    except ValueError:
        return None


def hint(code: str | int) -> str:
    """What an operator should know about an error code, in a sentence."""
    known = meaning(code)
    return known.hint if known else f"See https://www.twilio.com/docs/api/errors/{code}"


def retry_after(value: str | None, *, now: int) -> float | None:
    """The header's seconds or date as seconds from `now` (wall ms); None when it says nothing usable."""
    if not value:
        return None
    try:
        seconds = float(value) if value.strip().isdigit() else _seconds_until(value, now)
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), _LONGEST_WAIT_SECONDS)


def _seconds_until(date: str, now: int) -> float:
    moment = parsedate_to_datetime(date)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now / 1000


def _outcome(refused: Refused) -> tuple[Failure, float | None]:
    """The code decides; an unknown one follows its HTTP class."""
    known = meaning(refused.code)
    if refused.status == 429:  # never processed, whatever the code says
        return Failure.NOT_SENT, known.delay if known else None
    # Either may come after the message was taken, also with a code that we know: a 408 is of a proxy on the way.
    if refused.status >= 500 or refused.status == 408:
        return Failure.AMBIGUOUS, None
    if known:
        return known.failure, known.delay
    if refused.status in {401, 403, 404}:  # a create has no resource to miss but the account itself
        return Failure.ACCOUNT, None
    return (Failure.PERMANENT if refused.status >= 400 else Failure.AMBIGUOUS), None


#: What concerns one contact and their phone. Every other code may stand in the way of all sends.
PERSONAL: Final = frozenset(
    map(str, (21211, 21265, 21610, 21612, 21614, 30003, 30004, 30005, 30006, 63003, 63015, 63016, 63024))
)

CODES: Final[dict[int, Meaning]] = {
    # never processed, or not just now
    20429: Meaning(Failure.NOT_SENT, "Too many requests at once: convoq slows down and sends it again."),
    21611: Meaning(Failure.WAIT, "This sender's queue at Twilio is full: it is sent again later.", 60),
    30001: Meaning(Failure.WAIT, "Twilio's queue for this sender overflowed: it is sent again later.", 60),
    30008: Meaning(Failure.WAIT, "The carrier failed without saying why; another try may pass.", 120),
    30410: Meaning(Failure.WAIT, "The carrier did not answer in time; another try may pass.", 120),
    63012: Meaning(Failure.WAIT, "WhatsApp had an internal error; another try may pass.", 120),
    63017: Meaning(Failure.WAIT, "The channel's rate limit was reached: it is sent again later.", 30),
    63018: Meaning(Failure.WAIT, "This WhatsApp sender reached its rate limit: it is sent again later.", 60),
    63023: Meaning(Failure.WAIT, "The channel could not be reached; another try may pass.", 120),
    # may have been taken
    20500: Meaning(Failure.AMBIGUOUS, "Twilio had an internal error and may have sent the message all the same."),
    20503: Meaning(Failure.AMBIGUOUS, "Twilio was unavailable and may have sent the message all the same."),
    # our account
    20003: Meaning(
        Failure.ACCOUNT,
        "Twilio refuses the credentials: check account_sid, auth_token and the API key of that account.",
    ),
    20005: Meaning(Failure.ACCOUNT, "The Twilio account is not active: look at the Console's billing page."),
    20006: Meaning(Failure.ACCOUNT, "The API key may not do this: use one with the right permissions."),
    20008: Meaning(Failure.ACCOUNT, "These are test credentials: use the live ones."),
    20403: Meaning(Failure.ACCOUNT, "The Twilio account may not do this: check its status and permissions."),
    20404: Meaning(Failure.ACCOUNT, "Twilio does not know this account: check twilio.account_sid."),
    21701: Meaning(Failure.ACCOUNT, "Twilio does not know this Messaging Service: check messaging_service_sid."),
    21703: Meaning(Failure.ACCOUNT, "The Messaging Service has no sender: add your number to its sender pool."),
    30002: Meaning(Failure.ACCOUNT, "The Twilio account is suspended: look at the Console's billing page."),
    30034: Meaning(Failure.SENDER, "The US number is not registered for A2P 10DLC: register it in the Console."),
    63038: Meaning(Failure.ACCOUNT, "The account reached its daily message limit: it is lifted at midnight UTC."),
    # the person
    21610: Meaning(
        Failure.OPTED_OUT, "The person has opted out with STOP: only their START lets messages through again."
    ),
    21211: Meaning(Failure.PERMANENT, "The person's address is not valid."),
    21265: Meaning(Failure.PERMANENT, "A short code cannot be written to."),
    21408: Meaning(
        Failure.PERMANENT, "Messages to this country are switched off: allow it under Messaging Geo Permissions."
    ),
    21608: Meaning(Failure.PERMANENT, "A trial account writes only to verified numbers: verify this one or upgrade."),
    21612: Meaning(Failure.PERMANENT, "Twilio has no way from this sender to that address."),
    21614: Meaning(Failure.PERMANENT, "The address is not a mobile number."),
    30003: Meaning(Failure.PERMANENT, "The phone is switched off or out of reach."),
    30005: Meaning(Failure.PERMANENT, "The number is not in service."),
    30006: Meaning(Failure.PERMANENT, "The number is a landline or its carrier takes no messages."),
    63003: Meaning(Failure.PERMANENT, "The address is not on this channel."),
    63015: Meaning(Failure.PERMANENT, "The person has not joined the WhatsApp sandbox, or more than 3 days ago."),
    63024: Meaning(Failure.PERMANENT, "WhatsApp does not take messages for this person."),
    # our sender or what we sent
    14107: Meaning(Failure.PERMANENT, "Two numbers answered each other too often: is a bot talking to a bot?"),
    21212: Meaning(Failure.PERMANENT, "Our own address is not a valid sender."),
    21602: Meaning(Failure.PERMANENT, "The message has no text."),
    21603: Meaning(Failure.PERMANENT, "The message has no sender."),
    21604: Meaning(Failure.PERMANENT, "The message has no recipient."),
    21606: Meaning(Failure.PERMANENT, "Our address cannot send messages, or not to that country."),
    21609: Meaning(Failure.PERMANENT, "Twilio refuses the status callback's URL: check server.public_url."),
    21617: Meaning(Failure.PERMANENT, "The message is longer than 1600 characters."),
    21619: Meaning(Failure.PERMANENT, "The message has neither text nor media."),
    21620: Meaning(Failure.PERMANENT, "A media URL is not valid."),
    21623: Meaning(Failure.PERMANENT, "Twilio could not fetch the media."),
    21656: Meaning(Failure.PERMANENT, "The template's variables are not valid."),
    21659: Meaning(Failure.PERMANENT, "Our address is not a number of this Twilio account."),
    21660: Meaning(Failure.PERMANENT, "Our address belongs to another Twilio account."),
    21712: Meaning(Failure.PERMANENT, "Our address is not in the Messaging Service's sender pool."),
    30004: Meaning(Failure.PERMANENT, "The person or the carrier blocks messages from this sender."),
    30007: Meaning(Failure.PERMANENT, "A carrier filtered the message as unwanted."),
    30450: Meaning(Failure.PERMANENT, "The message was blocked because of its content."),
    63007: Meaning(Failure.PERMANENT, "Twilio finds no sender with our address on this channel."),
    63013: Meaning(Failure.PERMANENT, "The message breaks the channel's policy."),
    63016: Meaning(
        Failure.PERMANENT,
        "More than 24 hours since the person last wrote: WhatsApp takes only an approved template now.",
    ),
    63019: Meaning(Failure.PERMANENT, "The channel could not fetch the media."),
    63021: Meaning(Failure.PERMANENT, "The channel refuses the content."),
}
