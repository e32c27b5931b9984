"""Which conversation or person is meant by what was typed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from convoq.errors import ConvoqError

if TYPE_CHECKING:
    from convoq.conversations.queries import Reading
    from convoq.conversations.records import Conversation

LEAST_DIGITS: Final = 5  # of a number that is looked for in addresses, where no conversation has it for an id
MOST_DIGITS_OF_PHONE: Final = 15


async def find_conversation(reading: Reading, given: str) -> Conversation:
    """The conversation with this id, else the latest one of the person with this number. Raises ConvoqError."""
    from convoq.conversations.search import ConversationFilter

    found = await reading.get(int(given)) if given.isdigit() else None
    if found is not None:
        return found
    if not LEAST_DIGITS <= len(given) <= MOST_DIGITS_OF_PHONE and given.isdigit():
        raise ConvoqError(f"there is no conversation {given}")
    summaries = await reading.find(ConversationFilter(address=given), limit=50)
    people = list(dict.fromkeys(summary.conversation.contact.address for summary in summaries))
    if not people:
        raise ConvoqError(f"there is no conversation with {given}")
    if len(people) > 1 and given not in people:
        raise ConvoqError(f"{given} is in {len(people)} addresses: say which ({', '.join(people[:5])})")
    wanted = given if given in people else people[0]
    return next(one.conversation for one in summaries if one.conversation.contact.address == wanted)
