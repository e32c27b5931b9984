"""Which conversation or person is meant by what was typed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from convoq.errors import ConvoqError
from convoq.phone import addresses_beside

if TYPE_CHECKING:
    from convoq.conversations.persons import PersonOnRecord
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
    found_at = list(dict.fromkeys(summary.conversation.contact.address for summary in summaries))
    if not found_at:
        raise ConvoqError(f"there is no conversation with {given}")
    people = {addresses_beside(address) for address in found_at}
    if len(people) > 1 and given not in found_at:
        raise ConvoqError(f"{given} is in {len(found_at)} addresses: say which ({', '.join(found_at[:5])})")
    wanted = (given,) if given in found_at else found_at
    return next(one.conversation for one in summaries if one.conversation.contact.address in wanted)


async def find_person(reading: Reading, given: str) -> PersonOnRecord:
    """Of whom that conversation is. Raises ConvoqError."""
    person = await reading.person((await find_conversation(reading, given)).contact.id)
    assert person is not None  # noqa: S101  # a type check: the conversation that was found names the person
    return person
