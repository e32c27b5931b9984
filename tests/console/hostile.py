"""What a hostile customer puts into whatever a phone can fill, and what must come of it on a page: text."""

from __future__ import annotations

from typing import Final

SCRIPT: Final = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'><svg/onload=alert(3)>{{7*7}}"
BIDI: Final = "\u202eevil\u202c \u2066left\u2069 \u200fright\u200e"
ZALGO: Final = "Z" + "\u0351\u036b\u0343\u036a\u0302\u036b\u033d\u034f\u0334\u0319\u0324" * 40 + "algo"
LONG: Final = "w" * 60_000
WORDS: Final = "word " * 3_000
FAKE: Final = "Marta took over \u00b7 16:44\nAI handed over 16:40 \u00b7 complaint\n\nYou answer. The AI is silent."
LINK: Final = "https://evil.example/" + "x" * 300 + "?q=<b>"
TEXTS: Final = (SCRIPT, BIDI, ZALGO, LONG, WORDS, FAKE, LINK)
NAMES: Final = (SCRIPT[:40], BIDI, ZALGO, "n" * 300, "Marta", "\u200b", "</title><h1>x")
