"""What the text of a message to a person may hold, and where it may end early. Imports nothing of convoq's."""

from __future__ import annotations

import re
from typing import Final

# A sequence as a whole: of "\x1b[31m" more than the escape character has to go.
_TERMINAL_SEQUENCE: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\))")
_LINE_ENDS: Final = re.compile(r"\r\n?|[\v\f\x1c-\x1e\x85\u2028\u2029]")
_BLANKS: Final = re.compile(r"[\u2800\u3164\uffa0]")  # look like nothing, and count as characters that one can see
# Flags of England, Scotland and Wales are spelled with tag characters, which hide whole texts anywhere else.
_FLAG: Final = "\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,8}\U000e007f"
_INVISIBLE: Final = re.compile(
    f"({_FLAG})"
    "|[\ud800-\udfff]"  # half a character, which no encoding takes
    "|[\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f]"
    "|[\u202a-\u202e\u2066-\u2069]"  # turn the direction of what follows
    "|(?<![\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff])\u200b"  # tells words apart in Thai, Lao, Burmese and Khmer
    "|[\u00ad\u034f\u180e\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffc\ufdd0-\ufdef\ufffe\uffff]"
    "|[\U000e0000-\U000e007f]"
    "|(?<=[\ufe00-\ufe0f\U000e0100-\U000e01ef])[\ufe00-\ufe0f\U000e0100-\U000e01ef]+"
)
# Joiners join: at an edge, beside a blank and beside each other they only hide that there is nothing.
_IDLE_JOINERS: Final = re.compile(r"(?:(?<=\s)|^)[\u200c\u200d\ufe00-\ufe0f]+|[\u200b-\u200d]+(?=[\s\u200b-\u200d]|$)")
_SENTENCE_END: Final = re.compile(r"[.!?。！？…][\"'”’»)\]*_~`]*(?=\s|$)|[。！？][」』）]*")
_ELLIPSIS: Final = " …"


def sendable(text: str) -> str:
    """The text without what cannot be encoded, seen, or would steer the reader's screen; empty if nothing is to see.

    Line ends become "\\n". A second pass changes nothing, and a text of ordinary characters is not changed at all.
    """
    if text.isascii() and text.isprintable():
        return text if text.strip() else ""
    # A character beyond the basic plane may come as its two halves.
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "ignore") if _has_halves(text) else text
    text = _BLANKS.sub(" ", _INVISIBLE.sub(r"\1", _TERMINAL_SEQUENCE.sub("", text)))
    text = _LINE_ENDS.sub("\n", text)
    while (shorter := _IDLE_JOINERS.sub("", text)) != text:
        text = shorter
    return text if text.strip() else ""


def _has_halves(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def end_at_sentence(text: str) -> str:
    """A text that was cut off: up to its last whole sentence, or with an ellipsis."""
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    return text[: ends[-1]] if ends and ends[-1] >= len(text) // 2 else text.rstrip() + _ELLIPSIS


def shorten(text: str) -> str:
    """A text from which something follows that is left out; never longer than it was."""
    ended = end_at_sentence(text)
    if len(ended) <= len(text):
        return ended
    room = text[: len(text) - len(_ELLIPSIS)]
    return (room.rsplit(None, 1)[0] if len(room.split()) > 1 else room).rstrip() + _ELLIPSIS
