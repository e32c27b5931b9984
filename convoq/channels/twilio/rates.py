"""How fast Twilio sends for an address: so many segments of SMS, or messages of WhatsApp, a second, by its kind."""

from __future__ import annotations

import math
import re
from typing import Final

#: Of SMS in its own alphabet; what is not in it makes each segment shorter.
_GSM: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_TWICE: Final = frozenset("^{}\\[~]|€\f")
_ONE_GSM, _EACH_GSM, _ONE_UCS, _EACH_UCS = 160, 153, 70, 67

WHATSAPP: Final = 80.0
SANDBOX: Final = ("whatsapp:+14155238886", 1 / 3)
#: The first that the address matches.
_KINDS: Final = (
    (re.compile(r"[0-9]{3,8}"), 100.0),  # a short code
    (re.compile(r"\+1(?:800|833|844|855|866|877|888)[0-9]{7}"), 3.0),  # toll-free
    (re.compile(r"\+1[0-9]{10}"), 1.0),  # a number of the US or Canada
    (re.compile(r"\+[0-9]+|[A-Za-z0-9 ]+"), 10.0),  # of another country, or a name
)


def usual_rate(our_address: str) -> float:
    """Segments or messages a second; 0: no limit is known."""
    if our_address.startswith("whatsapp:"):
        return SANDBOX[1] if our_address == SANDBOX[0] else WHATSAPP
    return next((rate for kind, rate in _KINDS if kind.fullmatch(our_address)), 0.0)


def airtime(our_address: str, body: str, rate: float | None) -> float:
    """Seconds that the sender takes for the message, at this rate or (None) its usual one; 0: no limit."""
    rate = usual_rate(our_address) if rate is None else rate
    if not rate:
        return 0.0
    return (1 if ":" in our_address else segments(body)) / rate


def segments(text: str) -> int:
    """Of an SMS, as carriers count and charge it."""
    if all(char in _GSM or char in _GSM_TWICE for char in text):
        units, one, each = len(text) + sum(char in _GSM_TWICE for char in text), _ONE_GSM, _EACH_GSM
    else:
        units, one, each = len(text.encode("utf-16-le")) // 2, _ONE_UCS, _EACH_UCS
    return 1 if units <= one else math.ceil(units / each)
