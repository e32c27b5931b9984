"""Twilio's two webhooks: the URLs that it is told to call, and the jobs that its requests become."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, quote

from convoq.channels.twilio.form import Pairs
from convoq.jobs import NORMAL, PEOPLE, NewJob, ProcessAiResponse, RecordDeliveryStatus, conversation_key

INBOUND_PATH: Final = "/twilio/inbound"
STATUS_PATH: Final = "/twilio/status"
REFERENCE: Final = "m"  #: the query parameter of a status callback's URL that carries our own id
RETRY_OVERRIDES: Final = "rc=5&rp=all&ct=2000&rt=4000"  # five tries within 15 s; without it an error is not tried again

# Empty TwiML: nothing is said back here. As text/plain the person would receive it as a message.
EMPTY_TWIML: Final = b'<?xml version="1.0" encoding="UTF-8"?><Response/>'


def inbound_url(public_url: str) -> str:
    return f"{public_url.rstrip('/')}{INBOUND_PATH}"


def console_url(public_url: str) -> str:
    """What to paste into the Twilio console: Twilio obeys the fragment and does not send it."""
    return f"{inbound_url(public_url)}#{RETRY_OVERRIDES}"


def status_url(public_url: str, reference: str) -> str:
    """The status callback of one message: `reference_in` finds the reference again."""
    return f"{public_url.rstrip('/')}{STATUS_PATH}?{REFERENCE}={quote(reference, safe='')}"


def reference_in(raw_path: str) -> str | None:
    return dict(parse_qsl(raw_path.partition("?")[2])).get(REFERENCE)


def inbound_job(fields: Pairs, form: dict[str, str]) -> NewJob:
    return ProcessAiResponse(form=tuple(fields)).job(
        ordering_key=conversation_key("twilio", form["To"], form["From"]),
        dedup_key=f"twilio:inbound:{form['AccountSid']}:{form['MessageSid']}",
        priority=PEOPLE,
    )


def status_job(fields: Pairs, form: dict[str, str], reference: str | None) -> NewJob:
    parts = ("twilio:status", form["AccountSid"], form["MessageSid"], form["MessageStatus"], form.get("ErrorCode", ""))
    return RecordDeliveryStatus(form=tuple(fields), reference=reference).job(
        ordering_key=f"status|{form['MessageSid']}",
        dedup_key=":".join(filter(None, parts)),
        priority=NORMAL,
    )
