"""Phone numbers as people spell them: copied from a list, an address book or a document."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

#: What stands between the digits of a number: spaces, dashes of all kinds, brackets, and marks of the text's direction.
_BETWEEN: Final = frozenset({"Zs", "Pd", "Cf", "Ps", "Pe"})
#: The same in a text: a few of them, as they are or as JSON escapes them.
_SPACE: Final = r"[\s().\-/\u200b-\u200f\u2010-\u2015\u202a-\u202e\u2060\u2066-\u2069]"
_GAP: Final = rf"(?:{_SPACE}|\\u(?:00a0|20[0-9a-f]{{2}}|3000)){{0,4}}"
_SCHEME: Final = re.compile(r"^(?:whatsapp|tel|sms):", re.IGNORECASE)
_NUMBER: Final = re.compile(r"(?:\+|00)?([1-9][0-9]{6,14})")
_INTERNATIONAL: Final = re.compile(r"^[^0-9]*(?:\+|00)")
_OTHER: Final = re.compile(r"[a-z]+:\S+|[0-9]{3,6}")
#: Of a WhatsApp user who hides the number.
_HIDDEN: Final = re.compile(r"whatsapp:([A-Z]{2}\.(?:ENT\.)?[A-Za-z0-9]+)", re.IGNORECASE)
_ADDRESS: Final = re.compile(r"(?:whatsapp:)?(\+[1-9][0-9]{6,14})")


def address_of(spelled: str) -> str:
    """The one address that is meant: by WhatsApp where that is named, else by SMS.

    Raises ValueError, also for a number that begins with neither + nor 00: it may lack its country code.
    """
    text = unicodedata.normalize("NFKC", spelled)
    addresses = addresses_of(text)
    if len(addresses) == 1 and ":" in addresses[0]:
        return addresses[0]
    if len(addresses) == 1 or not _INTERNATIONAL.search(text):
        raise ValueError("is no number with its country code, such as +15551230001")
    return addresses[0] if text.strip().lower().startswith("whatsapp:") else addresses[-1]


def addresses_beside(address: str) -> tuple[str, ...]:
    """Those that a person with this address has: the same number by WhatsApp and by SMS, or this one alone."""
    found = _ADDRESS.fullmatch(address)
    return (f"whatsapp:{found[1]}", found[1]) if found else (address,)


def addresses_of(spelled: str) -> tuple[str, ...]:
    """The addresses that one person has who is meant so: by WhatsApp and by SMS, or the one of another channel.

    Raises ValueError, one line, for what is no number with its country code, and no address.
    """
    text = unicodedata.normalize("NFKC", spelled).strip()
    bare = "".join(char for char in _SCHEME.sub("", text) if unicodedata.category(char) not in _BETWEEN)
    if found := _NUMBER.fullmatch(re.sub(r"[./]", "", bare)):
        return (f"whatsapp:+{found[1]}", f"+{found[1]}")
    if found := _HIDDEN.fullmatch(text):
        return (f"whatsapp:{found[1]}",)
    if _OTHER.fullmatch(text) and not _SCHEME.match(text):
        return (text,)
    raise ValueError("is no number with its country code, such as +15551230001")


def mentions(address: str) -> re.Pattern[str]:
    """What finds the address in a text, however it is spelled there (also inside JSON), and no longer number that holds
    it."""
    digits = re.sub(r"\D", "", address)
    if len(digits) >= 7 and (address.startswith(("+", "whatsapp:+"))):
        return re.compile(rf"(?<!\d)(?:00)?{_GAP.join(digits)}(?!\d)")
    return re.compile(rf"(?<![\w+]){re.escape(address)}(?!\w)")
