"""Who has opted out is told so, once: by us where the channel does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from convoq.channels.base import Inbound
from convoq.conversations import rows
from convoq.conversations.outbox import add_outgoing
from convoq.db.transaction import Transaction


class Confirmations:
    """The sentence by language; an empty one is not said. `language_of` names the language of an address of ours."""

    def __init__(self, texts: Mapping[str, str], language_of: Callable[[str], str]) -> None:
        self._texts = texts
        self._language_of = language_of

    def text(self, inbound: Inbound) -> str:
        """In the language of the word that was written; where all use that word, in the one of the address."""
        usual = self._language_of(inbound.our_address)
        return self._texts.get(inbound.keyword_language or usual, self._texts.get(usual, ""))


def confirm_opt_out(
    tx: Transaction, thread_id: int, conversation_id: int, source: str, text: str, now: int, wall_now: int
) -> None:
    """Ready to be sent: the one thing that still is. Only for the message that has opted the person out."""
    add_outgoing(tx, thread_id, conversation_id, "system", f"{rows.OPT_OUT}{source}", text, [text], now, wall_now)
