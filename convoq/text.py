"""Text that is safe to print (escaped, on one line, masked), and times, sizes and counts in words.

Everything imports this, `convoq version` too: it imports nothing of convoq's, and datetime only where it is used.
"""

from __future__ import annotations

import re
from typing import Final

#: A longer text is cut where it is masked.
LONGEST_TEXT: Final = 16_384

# Joiners are part of emoji and of several scripts; no terminal is steered by them.
_JOINERS: Final = "\u200c\u200d"
_SPACES: Final = re.compile(r"[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")

_CREDENTIALS: Final = re.compile(r"\b(?:bearer|basic)\s+[\w+/=.~-]{6,}|\bsk-[\w*-]{6,}", re.IGNORECASE)
_ADDRESSES: Final = re.compile(
    r"\b(?:whatsapp|messenger|instagram|rcs|sms|tel)(?::|%3A)[^\s|\"'<>,;)&\]}]{5,}"
    r"|(?:\+|%2B)[0-9](?:[ ().-]{0,2}[0-9]){6,14}",
    re.IGNORECASE,
)
# What no address, and no credentials, can do without: far cheaper to look for, and nearly always not there.
_IN_ADDRESSES: Final = re.compile(r"[:%+]")
_IN_CREDENTIALS: Final = re.compile(r"[cCrRkK\u212a][\s-]")
_IN_EITHER: Final = re.compile(r"[:%+\s-]")
_SCHEME: Final = re.compile(r".*(?::|%3A)", re.IGNORECASE | re.DOTALL)

# Ids of requests, moments, counts: a word with a digit, one that is too long to be a word, and one of letters alone
# where an id stands (behind its label or prefix, alone in brackets) or that no language writes ("aKdQzWvB").
_ID: Final = re.compile(
    r"[\w+/=-]*\d[\w+/=-]*|[\w+/=-]{24,}|\b(?:req|msg|resp|chatcmpl|cmpl|gen|call|trace|org|proj)[_-][A-Za-z]{6,}"
    r"|(?<=[\[(])[\w+/=-]{8,}(?=[\])])|\b(?=[A-Za-z]*[a-z][A-Z])[a-z]{0,4}(?>(?:[A-Z]{1,4}[a-z]{0,4}){3,})\b"
)
_LABELLED: Final = re.compile(
    r"(\b(?:(?:request|trace|correlation|session|error|event|ray)[ _-]?)?(?:id|ref|reference|trace)\b[\s:='\"(\[]{1,3})"
    r"[\w+/=-]{4,}",
    re.IGNORECASE,
)
_CUT_OFF: Final = "…"
_COMPARED: Final = 120  #: characters; where a sentence was cut off depends on how long its ids are

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))


def printable(text: str) -> str:
    """The text with everything escaped that could break a line, steer a terminal or turn the text's direction."""
    return text if text.isprintable() else "".join(map(_printable, text))


def harmless(text: str) -> str:
    """Printable, but with the joiners and wide spaces that people write: for a terminal, not for records."""
    if text.isprintable():
        return text
    return "".join(char if char in _JOINERS or _SPACES.match(char) else _printable(char) for char in text)


def _printable(char: str) -> str:
    return char if char.isprintable() else char.encode("unicode_escape").decode("ascii")


def first_line(error: BaseException) -> str:
    """The first line of what an exception says; its type where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def mask_address(address: str) -> str:
    """The address with its middle hidden: whatsapp:+15551230001 becomes whatsapp:+1555***0001."""
    scheme = match[0] if (match := _SCHEME.match(address)) else ""
    own = address[len(scheme) :]
    head = own[: max(0, min(5, len(own) - 7))]
    tail = own[-min(4, len(own) // 2) :] if len(own) > 1 else ""
    return f"{scheme}{head}***{tail}"


def masked(text: str) -> str:
    """The text, cut at LONGEST_TEXT characters, with addresses hidden but for their ends and credentials wholly."""
    if len(text) > LONGEST_TEXT:
        text = f"{text[:LONGEST_TEXT]}... ({len(text) - LONGEST_TEXT} more characters)"
    if not _IN_EITHER.search(text):
        return text
    if _IN_ADDRESSES.search(text):
        text = _ADDRESSES.sub(lambda match: mask_address(match[0]), text)
    return _CREDENTIALS.sub("***", text) if _IN_CREDENTIALS.search(text) else text


def without_ids(text: str) -> str:
    """The text without what is another each time that the same is said. Of one that is cut off, how it begins.

    A position goes, too: which of a request's messages is refused ("messages.3") depends on how long the conversation
    is, and not on what is wrong with it.
    """
    said = _ID.sub("#", _LABELLED.sub(r"\1#", text))
    return said[:_COMPARED] if _CUT_OFF in said else said


def age(seconds: float) -> str:
    """A length of time in one unit: 3 s, 4 min, 2 h, 5 d. Below ten seconds with one decimal place."""
    seconds = max(0.0, seconds)
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{seconds:.1f} s" if 0 < seconds < 9.95 and seconds % 1 else f"{seconds:.0f} s"


def local_time(ms: int) -> str:
    """A moment in local time, with its zone: 2026-11-22 15:04:01 CET."""
    from datetime import datetime  # here and below: `convoq version` does without

    return datetime.fromtimestamp(ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def iso_time(ms: int | None) -> str | None:
    """A moment for programs: 2026-11-22T15:04:01.123Z."""
    if ms is None:
        return None
    from datetime import UTC, datetime

    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def size(count: int) -> str:
    """A number of bytes: 512 B, 1.2 MB."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def counted(number: int, noun: str, several: str | None = None) -> str:
    """1 job, 2 jobs; 1 reply, 2 replies."""
    return f"{number} {noun if number == 1 else several or noun + 's'}"


def last_line(error: str | None) -> str:
    """What a traceback comes to."""
    return (error or "").strip().rsplit("\n", 1)[-1].strip()
