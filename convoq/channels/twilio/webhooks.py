"""Twilio's two webhooks: the URLs that it is told to call, and the jobs that its requests become."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote

from convoq.channels.base import VerifiedWebhook, WebhookAnswer, WebhookForged, WebhookRefused, WebhookRequest
from convoq.channels.twilio.form import Pairs, check_shape_inbound, check_shape_status, parse_form, parse_json
from convoq.channels.twilio.inbound import CHANNEL
from convoq.channels.twilio.signature import SETTINGS_HEADER, SIGNATURE_HEADER, Verifier
from convoq.channels.twilio.status import STATUS_FIELDS
from convoq.jobs import NORMAL, NewJob, ReceiveMessage, RecordDeliveryStatus, receive_job
from convoq.settings import TwilioSettings

INBOUND_PATH: Final = "/twilio/inbound"
STATUS_PATH: Final = "/twilio/status"
REFERENCE: Final = "m"  #: the query parameter of a status callback's URL that carries our own id
RETRY_OVERRIDES: Final = "rc=5&rp=all&ct=2000&rt=4000"  # five tries within 15 s; without it an error is not tried again

ACCOUNT_SID: Final = re.compile(r"AC[0-9a-f]{32}", re.ASCII)

FORM: Final = "application/x-www-form-urlencoded"
JSON: Final = "application/json"

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


def webhooks(settings: TwilioSettings, public_url: str) -> tuple[TwilioWebhook, ...]:
    """Both, as they are verified with the account's tokens. Raises ConfigError when none could ever be."""
    verifier = Verifier(settings.account_sid or "", settings.signing_tokens, public_url)
    return (
        TwilioWebhook(
            path=INBOUND_PATH,
            verifier=verifier,
            check_shape=check_shape_inbound,
            job=_inbound_job,
            answer=WebhookAnswer(status=200, body=EMPTY_TWIML, content_type="text/xml"),
        ),
        TwilioWebhook(
            path=STATUS_PATH,
            verifier=verifier,
            check_shape=check_shape_status,
            job=_status_job,
            answer=WebhookAnswer(status=204),
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TwilioWebhook:
    """A request that Twilio signed and whose fields have the shape that Twilio gives them becomes a job."""

    path: str
    verifier: Verifier
    check_shape: Callable[[Pairs, str], str | None]
    job: Callable[[Pairs, dict[str, str], str], NewJob]
    answer: WebhookAnswer
    media_types: tuple[str, ...] = (FORM, JSON)

    def verify(self, request: WebhookRequest) -> VerifiedWebhook:
        """Raises WebhookRefused for what cannot be read, then WebhookForged, then WebhookRefused for its shape."""
        is_json = request.media_type == JSON
        try:
            fields = parse_json(request.body) if is_json else parse_form(request.body)
        except ValueError as error:
            raise WebhookRefused(400, str(error)) from None
        verdict = self.verifier.verify(
            request.raw_path,
            None if is_json else fields,
            request.body,
            request.headers.get(SIGNATURE_HEADER),
            request.headers.get(SETTINGS_HEADER),
        )
        if not verdict:
            raise WebhookForged(verdict.value, self._why_forged(fields))
        if wrong := self.check_shape(fields, self.verifier.account_sid):
            raise WebhookRefused(400, wrong)
        form = dict(fields)
        return VerifiedWebhook(self.job(fields, form, request.raw_path), {"message_sid": form["MessageSid"]})

    def _why_forged(self, fields: Pairs) -> str:
        account_sid = dict(fields).get("AccountSid", "")
        if ACCOUNT_SID.fullmatch(account_sid) and account_sid != self.verifier.account_sid:
            return "the form is another account's: a sub-account needs a convoq of its own, with its SID and its token"
        return "the signature is missing or does not match"


def _inbound_job(fields: Pairs, form: dict[str, str], _raw_path: str) -> NewJob:
    return inbound_job(ReceiveMessage(channel=CHANNEL, form=tuple(fields)), form)


def inbound_job(payload: ReceiveMessage, form: Mapping[str, str]) -> NewJob:
    """The job of one message, however we hear of it: a second one is its duplicate."""
    dedup_key = f"twilio:inbound:{form['AccountSid']}:{form['MessageSid']}"
    return receive_job(payload, form["To"], form["From"], dedup_key=dedup_key)


def _status_job(fields: Pairs, form: dict[str, str], raw_path: str) -> NewJob:
    parts = ("twilio:status", form["AccountSid"], form["MessageSid"], form["MessageStatus"], form.get("ErrorCode", ""))
    kept = tuple((name, value) for name, value in fields if name in STATUS_FIELDS)
    return RecordDeliveryStatus(channel=CHANNEL, form=kept, reference=reference_in(raw_path)).job(
        ordering_key=f"status|{form['MessageSid']}",
        dedup_key=":".join(filter(None, parts)),
        priority=NORMAL,
    )
