"""People: whether messages may go out to them, and their conversations."""

from __future__ import annotations

from typing import Final

from convoq.console.conversation_models import ContactInFull
from convoq.console.endpoints import Answer, Asked, Endpoint, NoBody, NoQuery, Site, not_found
from convoq.conversations.access import AccessRole
from convoq.conversations.queries import Reading
from convoq.monitoring.act_documents import contact_document


async def get_contact(site: Site, asked: Asked[NoQuery, NoBody]) -> Answer:
    conversations = await Reading(site.database).of_contact(asked.id_of("contact"))
    if not conversations:
        raise not_found("contact")
    return Answer(contact_document(conversations[0].contact, conversations))


ENDPOINTS: Final = (
    Endpoint(
        method="GET", path="/contacts/{id}", role=AccessRole.VIEWER, handle=get_contact, answer=ContactInFull,
        summary="A person, with their newest conversations",
    ),
)  # fmt: skip
