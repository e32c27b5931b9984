"""Webhook forms as Twilio sends them, of many conversations, and the jobs and requests that carry them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

from convoq.channels.twilio.signature import SIGNATURE_HEADER, sign
from convoq.jobs import INTAKE, NewJob, ReceiveMessage, receive_key

ACCOUNT_SID = "AC" + "0" * 31 + "7"
AUTH_TOKEN = "benchmark" + "0" * 23
OUR_ADDRESS = "whatsapp:+15550009999"
WORDS = (
    "good morning",
    "is the",
    "blue",
    "jacket",
    "still",
    "there",
    "in size",
    "M",
    "when would",
    "it arrive",
    "today",
)

Form = list[tuple[str, str]]


def forms(count: int, *, seed: int, people: int) -> Iterator[Form]:
    """About 500 bytes each when encoded; every message of a different MessageSid, from one of `people`."""
    # Not os.urandom: this is no secret, and a slow one would be measured instead of a queue.
    chance = random.Random(seed)
    for _ in range(count):
        sid = f"SM{chance.getrandbits(128):032x}"
        number = f"1555{chance.randrange(people):07d}"
        body = " ".join(chance.choices(WORDS, k=10))
        yield [
            ("SmsMessageSid", sid),
            ("NumMedia", "0"),
            ("ProfileName", "Ana Garcia"),
            ("MessageType", "text"),
            ("SmsSid", sid),
            ("WaId", number),
            ("SmsStatus", "received"),
            ("Body", body),
            ("To", OUR_ADDRESS),
            ("NumSegments", "1"),
            ("ReferralNumMedia", "0"),
            ("MessageSid", sid),
            ("AccountSid", ACCOUNT_SID),
            ("From", f"whatsapp:+{number}"),
            ("ApiVersion", "2010-04-01"),
        ]


def jobs(count: int, *, seed: int, people: int) -> list[NewJob]:
    """What the webhook API enqueues for those forms."""
    return [_job(form) for form in forms(count, seed=seed, people=people)]


def _job(form: Form) -> NewJob:
    fields = dict(form)
    return NewJob(
        kind=ReceiveMessage.kind,
        payload=json.dumps({"channel": "twilio", "form": form}, separators=(",", ":")),
        ordering_key=receive_key("twilio", fields["To"], fields["From"]),
        dedup_key=f"twilio:inbound:{ACCOUNT_SID}:{fields['MessageSid']}",
        priority=INTAKE,
    )


def requests(count: int, *, seed: int, people: int, url: str) -> list[bytes]:
    """Signed HTTP requests, ready to be sent."""
    host, _, path = url.partition("://")[2].partition("/")
    first_lines = (
        f"POST /{path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: TwilioProxy/1.1\r\nAccept: */*\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
        "I-Twilio-Idempotency-Token: 6f1e2c5a-0000-4000-8000-000000000000\r\n"
    )
    return [_request(first_lines, url, form) for form in forms(count, seed=seed, people=people)]


def _request(first_lines: str, url: str, form: Form) -> bytes:
    body = "&".join([f"{name}={_encoded(value)}" for name, value in form])
    signature = sign(AUTH_TOKEN, url, form)
    return f"{first_lines}Content-Length: {len(body)}\r\n{SIGNATURE_HEADER}: {signature}\r\n\r\n{body}".encode()


def _encoded(value: str) -> str:
    # These forms hold nothing else that needs escaping, and urlencode() takes longer than all the rest.
    return value.replace("+", "%2B").replace(":", "%3A").replace(" ", "+")
