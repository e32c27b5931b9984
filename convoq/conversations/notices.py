"""What a person is told when there is no answer for them: one sentence per silence, under the rules of any answer."""

from __future__ import annotations

import enum
import secrets
from collections.abc import Callable, Mapping
from typing import Final

from convoq.conversations import rows
from convoq.conversations.outbox import add_outgoing
from convoq.conversations.records import Conversation
from convoq.conversations.rules import may_send
from convoq.db.transaction import Transaction


class Silence(enum.StrEnum):
    """Why there is no answer."""

    DELAYED = "delayed"  #: the model is down: the answer comes later
    REFUSED = "refused"  #: the model, or its provider's filter, will not answer this
    FAILED = "failed"  #: no answer could be made: its job is in the dead letters
    BUDGET = "budget"  #: what answers may cost is used up


FINAL: Final = (Silence.REFUSED, Silence.FAILED)  #: no answer will come


class Notices:
    """The sentence for one of our addresses. `texts` has them by reason and language; an empty one is not said.

    `language_of` names the language that is spoken there.
    """

    def __init__(self, texts: Mapping[Silence, Mapping[str, str]], language_of: Callable[[str], str]) -> None:
        self._texts = texts
        self._language_of = language_of

    def text(self, silence: Silence, our_address: str) -> str:
        return self._texts[silence].get(self._language_of(our_address), "")


def add_notice(
    tx: Transaction, conversation: Conversation, silence: Silence, notices: Notices, now: int, wall_now: int,
    once: str | None = None,
) -> int | None:  # fmt: skip
    """The message that breaks the silence, ready to be sent; None when nothing may or need be said.

    `once` names what it is said once for.
    """
    text = notices.text(silence, conversation.our_address)
    if not text or may_send(conversation, author="ai", committed_at=now, now=now, wall_now=wall_now) is not None:
        return None
    if once is not None:
        source = f"{rows.NOTICE}{silence}:{once}"
        if tx.execute("SELECT 1 FROM messages WHERE source = ?", (source,)).fetchone() is not None:
            return None
        return add_outgoing(tx, conversation.thread_id, conversation.id, "ai", source, text, [text], now, wall_now)
    last = _last_source(tx, conversation.id)
    # "delayed" may be followed by "failed"; after any other sentence of a silence none comes.
    if last.startswith((*(f"{rows.NOTICE}{final}:" for final in FINAL), f"{rows.NOTICE}{silence}:")):
        return None
    source = f"{rows.NOTICE}{silence}:{secrets.token_hex(8)}"
    return add_outgoing(tx, conversation.thread_id, conversation.id, "ai", source, text, [text], now, wall_now)


def _last_source(tx: Transaction, conversation_id: int) -> str:
    """Of what we said last in the conversation."""
    found = tx.execute(
        f"""SELECT m.source FROM messages AS m WHERE m.conversation_id = ? AND ({rows.SHOWN}) AND m.direction = 'out'
            ORDER BY m.id DESC LIMIT 1""",
        (conversation_id,),
    ).fetchone()
    return str(found[0]) if found else ""
