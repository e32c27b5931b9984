"""Reads what became of a message that we sent, and ranks it so that late callbacks never take it back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from convoq.channels.base import DeliveryStatus, Failure
from convoq.channels.twilio.errors import meaning
from convoq.errors import Unrecoverable

# Callbacks overtake each other. What ended a message ranks above what was on the way; only `read` proves an arrival.
RANKS: Final = {
    "accepted": 1,
    "scheduled": 1,
    "queued": 2,
    "sending": 3,
    "sent": 4,
    "partially_delivered": 4,
    "delivered": 5,
    "failed": 6,
    "undelivered": 6,
    "canceled": 6,
    "read": 7,
}
UNKNOWN: Final = 0  #: a word that Twilio has added since: kept, but it takes no other one's place
#: What of a callback's form is read, and so kept: none of it says whose the message is.
STATUS_FIELDS: Final = frozenset({"MessageSid", "SmsSid", "MessageStatus", "SmsStatus", "ErrorCode"})
_ARRIVED: Final = frozenset({"delivered", "read"})
_FAILED: Final = frozenset({"failed", "undelivered", "canceled"})
_WORD: Final = re.compile(r"[a-z_-]{1,32}", re.ASCII)


def parse_status(form: Sequence[tuple[str, str]], reference: str | None) -> DeliveryStatus:
    """The delivery status in a verified form. Raises Unrecoverable when the form holds none."""
    fields = dict(form)
    provider_id = fields.get("MessageSid") or fields.get("SmsSid")
    status = (fields.get("MessageStatus") or fields.get("SmsStatus") or "").lower()
    if not provider_id:
        raise Unrecoverable("the form is not a delivery status: MessageSid is missing")
    if not _WORD.fullmatch(status):
        raise Unrecoverable("the form is not a delivery status: MessageStatus is missing or not a word")
    code = fields.get("ErrorCode", "").strip()
    failed, known = status in _FAILED, meaning(code)
    passes = failed and status != "canceled" and known is not None and known.failure is Failure.WAIT
    return DeliveryStatus(
        provider_id=provider_id,
        status=status,
        rank=RANKS.get(status, UNKNOWN),
        failed=failed,
        known=status in RANKS,
        error_code=code if code not in {"", "0"} else None,
        arrived=status in _ARRIVED,
        opted_out=failed and known is not None and known.failure is Failure.OPTED_OUT,
        again_after=known.delay if passes and known is not None else None,
        reference=reference or None,
    )
