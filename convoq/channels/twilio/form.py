"""Reads a webhook's fields strictly and checks, after its signature, that it has the shape Twilio gives it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import unquote, unquote_to_bytes

from convoq.channels.twilio.signature import canonical

MAX_FIELDS: Final = 100

Pairs = Sequence[tuple[str, str]]


def parse_form(raw: bytes) -> list[tuple[str, str]]:
    """Every field in its order, blank ones included. Raises ValueError with a plain reason."""
    try:
        text = raw.decode()
        if text.count("&") >= MAX_FIELDS:
            raise ValueError(f"more than {MAX_FIELDS} fields")
        return [_pair(field) for field in text.replace("+", " ").split("&") if field]
    except UnicodeDecodeError as error:
        raise ValueError("the form is not UTF-8") from error


def parse_json(raw: bytes) -> list[tuple[str, str]]:
    """The fields of one flat JSON object. Raises ValueError with a plain reason."""
    try:
        content = json.loads(raw.decode(), object_pairs_hook=list, parse_constant=_no_constant)
        fields = [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in content]
        for name, value in fields:
            (name + value).encode()  # \ud800 alone is a JSON string but no text
    except (ValueError, TypeError, RecursionError):
        raise ValueError("the body is not one flat JSON object in UTF-8") from None
    if len(fields) > MAX_FIELDS:
        raise ValueError(f"more than {MAX_FIELDS} fields")
    return fields


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _pair(field: str) -> tuple[str, str]:
    name, _, value = field.partition("=")
    # Few need it, and parse_qsl() goes through all of them, which was the dearest part of a webhook.
    return (_unquoted(name), _unquoted(value)) if "%" in field else (name, value)


def _unquoted(text: str) -> str:
    return unquote_to_bytes(text).decode() if text.isascii() else unquote(text, errors="strict")


# Why the shape matters. Twilio signs names and values glued together: in a captured request an attacker may move the
# borders between them and leave fields out, and the signature still holds. Characters cannot be added, dropped or
# reordered, nor can the names come out of order. So:
# - strict patterns keep required values from swallowing, or losing, their neighbours;
# - names look like names, so neither a piece of the URL nor of most values can pose as one;
# - what convoq reads comes once: repeating a pair does not change what is signed;
# - every "...Sid" + message SID in the signed string has to be a field of its own, and MessageSid and its twins agree.
#   A MessageSid that was not seen before would have to be cut out of other text (a quoted SID, or the person's own
#   words), while the true one hides in some value: the last rule finds it there.
# What remains: in a form without SmsSid (Twilio sends it, but calls it deprecated) the name before the true SID could
# be lengthened into another name that ends in "Sid", which frees MessageSid for a SID that the message's own author
# wrote into it. That takes an author who also holds the signed request, and the message itself is refused. The gain is
# one reply to an address that its text spells out. And fields that convoq does not read may be glued or parted. Under
# its true MessageSid any reshaping is a duplicate and changes nothing: the queue's dedup key and the store's unique
# message id see to it.

_MESSAGE_SID: Final = re.compile(r"(?:SM|MM)[0-9a-f]{32}", re.ASCII)
_SWALLOWED_SID: Final = re.compile(r"Sid(?:SM|MM)[0-9a-f]{32}", re.ASCII)
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}", re.ASCII)
_ADDRESS: Final = re.compile(
    r"""
      [a-z][a-z0-9]{1,15}: (?:                        # a channel, then
          \+?[0-9]{2,20}                              #   a phone number or a numeric id,
        | [A-Z]{2}\.(?:ENT\.)?[A-Za-z0-9]{1,128}      #   a WhatsApp user with a hidden number,
        | [A-Za-z0-9][A-Za-z0-9_.@-]{0,127}           #   an agent or page
      )
    | \+?[0-9]{2,20}                                  # a phone number or a short code
    | [\x21-\x39\x3b-\x7e][\x20-\x39\x3b-\x7e]{0,15}  # a sender by name, or what a carrier made of the number
    """,
    re.ASCII | re.VERBOSE,
)
_STATUS: Final = re.compile(r"[A-Za-z_-]{1,32}", re.ASCII)
_PATTERNS: Final = {
    "MessageSid": _MESSAGE_SID,
    "SmsMessageSid": _MESSAGE_SID,
    "SmsSid": _MESSAGE_SID,
    "From": _ADDRESS,
    "To": _ADDRESS,
    "MessageStatus": _STATUS,
    "SmsStatus": _STATUS,
    "ApiVersion": re.compile(r"\d{4}-\d\d-\d\d", re.ASCII),
    "NumMedia": re.compile(r"\d{0,3}", re.ASCII),
    "NumSegments": re.compile(r"\d{0,4}", re.ASCII),
    "ErrorCode": re.compile(r"\d{0,6}", re.ASCII),
    "OptOutType": re.compile(r"[A-Z]{0,10}", re.ASCII),
    "MessageType": re.compile(r"[A-Za-z_-]{0,40}", re.ASCII),
}
_FITS: Final = tuple((name, pattern.fullmatch) for name, pattern in _PATTERNS.items())
_TWINS: Final = ("SmsMessageSid", "SmsSid")
_READ_ONCE: Final = re.compile(
    r"AccountSid|Body|Button\w+|List\w+|Latitude|Longitude|Address|Label|ProfileName|Referral\w+|FlowData"
    r"|InteractiveData|Forwarded|FrequentlyForwarded|OriginalReplied\w+|Media(?:Url|ContentType)\d+|"
    + "|".join(_PATTERNS),
    re.ASCII,
)


def check_shape_inbound(pairs: Pairs, account_sid: str) -> str | None:
    """What is wrong with the form of an inbound message; None when nothing is."""
    return _check(pairs, account_sid, ("AccountSid", "MessageSid", "From", "To"), optional=())


def check_shape_status(pairs: Pairs, account_sid: str) -> str | None:
    """What is wrong with the form of a delivery status; None when nothing is."""
    # A message that fails before a sender was picked from the pool has an empty From.
    return _check(pairs, account_sid, ("AccountSid", "MessageSid", "MessageStatus"), optional=("From", "To"))


def _check(pairs: Pairs, account_sid: str, required: tuple[str, ...], optional: tuple[str, ...]) -> str | None:
    form = dict(pairs)
    missing = [name for name in required if name not in form]
    if missing:
        return f"{missing[0]} is missing"
    if form["AccountSid"] != account_sid:
        return "AccountSid is not this account's"
    return _odd_name(tuple([name for name, _ in pairs])) or _odd_value(form, optional) or _odd_sid(pairs, form)


# Twilio sends the same few sets of names, and only what it signed is looked at.
@lru_cache(maxsize=128)
def _odd_name(names: tuple[str, ...]) -> str | None:
    if not all(_NAME.fullmatch(name) for name in names):
        return "a field's name is not one that Twilio uses"
    repeated = [name for name, count in Counter(names).items() if count > 1 and _READ_ONCE.fullmatch(name)]
    return f"{repeated[0]} comes twice" if repeated else None


def _odd_value(form: dict[str, str], optional: tuple[str, ...]) -> str | None:
    for name, fits in _FITS:
        value = form.get(name)
        if value is not None and not fits(value) and (value or name not in optional):
            return f"{name} does not look like one"
    return None


def _odd_sid(pairs: Pairs, form: dict[str, str]) -> str | None:
    if any(form.get(twin, form["MessageSid"]) != form["MessageSid"] for twin in _TWINS):
        return "MessageSid and its twins disagree"
    distinct = set(pairs)
    whole = [name for name, value in distinct if name[-3:] == "Sid" and _MESSAGE_SID.fullmatch(value)]
    if len(_SWALLOWED_SID.findall(canonical(distinct))) != len(whole):
        return "a MessageSid is part of another field"
    return None
