"""The AI hands over to an operator: the customer is told, and the chat always has an owner or waits for one."""

from __future__ import annotations

import enum
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from convoq.conversations import rows
from convoq.conversations.outbox import add_outgoing
from convoq.conversations.ownership import mute, set_owner
from convoq.conversations.records import Conversation, Handover, Message
from convoq.conversations.rules import may_send
from convoq.conversations.states import HandedReason, Owner
from convoq.db.transaction import Transaction

if TYPE_CHECKING:
    from convoq.conversations.out_of_hours import Desk


class Told(enum.StrEnum):
    """What the customer is told."""

    HANDED_OVER = "handed_over"  #: a person of ours comes
    UNABLE = "unable"  #: the same, where the AI could not answer
    PAUSED = "paused"
    NOBODY_FREE = "nobody_free"  #: nobody has come
    CLOSED = "closed"  #: outside the business hours
    CHECK_IN = "check_in"  #: whether there is anything else, in a silence
    EXPIRED = "expired"  #: that the conversation is closed, for its silence
    GOODBYE = "goodbye"  #: the AI closes the conversation


#: Which sentence goes with a reason; any other has the first.
SENTENCE_OF: Final = {
    HandedReason.BUDGET: Told.UNABLE,
    HandedReason.PROVIDER_DOWN: Told.UNABLE,
    HandedReason.LOOP: Told.UNABLE,
    HandedReason.SAFETY: Told.UNABLE,
    HandedReason.OTHER: Told.UNABLE,
    HandedReason.PAUSED: Told.PAUSED,
    HandedReason.CLOSED: Told.CLOSED,
}


def sentence_of(reason: HandedReason) -> Told:
    return SENTENCE_OF.get(reason, Told.HANDED_OVER)


class HandoverSentences:
    """What is said, by language; an empty one is not.

    Of an address of ours `language_of` names the language, and `own_of` has what the persona there says instead of
    HANDED_OVER.
    """

    def __init__(
        self,
        texts: Mapping[Told, Mapping[str, str]],
        language_of: Callable[[str], str],
        own_of: Callable[[str], Mapping[str, str]] = lambda _: {},
    ) -> None:
        self._texts = texts
        self._language_of = language_of
        self._own_of = own_of

    def text(self, told: Told, our_address: str, language: str | None = None) -> str:
        """In `language`, where that is known and has one."""
        own = self._own_of(our_address) if told is Told.HANDED_OVER else {}
        texts, usual = {**self._texts.get(told, {}), **own}, self._language_of(our_address)
        return texts.get(language or usual, texts.get(usual, ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoverRules:
    """When a chat goes from one to the other by itself. Durations are ms; 0: never."""

    ai_may_ask: bool  #: whether people of ours look at what the AI hands over
    taken_within: int  #: then the customer is told that no operator is free
    give_back_within: int  #: after that the AI answers
    silent_within: int  #: without a word of the operator that owns it
    return_when_silent: bool  #: to the AI, where no message waits
    notes_to_model: bool  #: whether the AI reads what people of ours note
    sentences: HandoverSentences
    desk_of: Callable[[str], Desk | None]  #: when the desk of an address of ours is open; None: always


def may_hand_over(messages: Sequence[Message], rules: HandoverRules) -> bool:
    """Whether the AI may leave these to an operator: once, and not where hand-overs are off."""
    return rules.ai_may_ask and not any(message.returned for message in messages)


def hand_over(
    tx: Transaction, conversation: Conversation, handover: Handover, rules: HandoverRules, now: int, wall_now: int,
    *, who: str, language: str | None = None,
) -> None:  # fmt: skip
    """A person of ours is awaited, and the customer told so, where that may be said. Its turn is to be enqueued."""
    await_person(tx, conversation, handover, now, who=who)
    tell(tx, conversation.id, sentence_of(handover.reason), rules, now, wall_now, language=language)


def await_person(tx: Transaction, conversation: Conversation, handover: Handover, now: int, *, who: str) -> None:
    """Nothing else of the AI's goes out; what waits is for a person of ours."""
    why = f"{handover.reason}: {handover.why}" if handover.why else str(handover.reason)
    set_owner(tx, conversation, Owner.WAITING, who=who, why=why, now=now, reason=handover.reason)
    mute(tx, conversation.thread_id, now, "it was handed over to a person")


def tell(
    tx: Transaction, conversation_id: int, told: Told, rules: HandoverRules, now: int, wall_now: int,
    *, language: str | None = None,
) -> bool:  # fmt: skip
    """Whether the customer is told."""
    conversation = rows.conversation(tx, conversation_id)
    text = rules.sentences.text(told, conversation.our_address, language)
    if (
        not text
        or may_send(conversation, author="ai", committed_at=now, now=now, wall_now=wall_now, says_handover=True)
        is not None
    ):
        return False
    add_sentence(tx, conversation, told, text, [text], now, wall_now)
    return True


def add_sentence(
    tx: Transaction, conversation: Conversation, why: str, text: str, parts: Sequence[str], now: int, wall_now: int
) -> int:
    """What tells of a person of ours, ready to be sent; its id."""
    source = f"{rows.HANDOVER}{why}:{secrets.token_hex(8)}"
    return add_outgoing(tx, conversation.thread_id, conversation.id, "ai", source, text, parts, now, wall_now)
