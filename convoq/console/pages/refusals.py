"""What a page answers instead of what was asked."""

from __future__ import annotations


class PageRefused(Exception):
    """Ends a request, with a sentence for the person at the browser; nothing was done."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
