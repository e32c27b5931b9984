"""Who is answered by an AI for the first time is told so, at the beginning of that answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from convoq.channels.base import Channel
from convoq.conversations.records import Answer, Conversation
from convoq.logs import log

BETWEEN: Final = "\n\n"


def log_committed(answer: Answer, body: str, conversation_id: int) -> None:
    """`body`: of its first part."""
    if answer.handover is not None:
        log.info("conversation.handed_over", conversation_id=conversation_id, reason=answer.handover.reason)
    log.info("reply.committed", conversation_id=conversation_id, parts=len(answer.parts))
    if body in answer.disclosing[:1]:
        log.info("ai.disclosed", conversation_id=conversation_id)


class Disclosure:
    """The sentence by language; an empty one is not said. `language_of` names the language of an address of ours."""

    def __init__(self, texts: Mapping[str, str], language_of: Callable[[str], str]) -> None:
        self._texts = texts
        self._language_of = language_of

    def parts(self, conversation: Conversation, channel: Channel, text: str, most: int) -> tuple[str, ...]:
        """The rendered answer with the sentence before it; none where that is not said."""
        sentence = self._texts.get(self._language_of(conversation.our_address), "")
        return tuple(channel.split(f"{sentence}{BETWEEN}{text}", most=most)) if sentence else ()
