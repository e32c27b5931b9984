"""People: whether messages may go out to them, and their conversations."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from convoq.console.acting import act
from convoq.console.conversation_models import ContactInFull
from convoq.console.endpoints import (
    Answer,
    Asked,
    Body,
    Document,
    Endpoint,
    NoBody,
    NoQuery,
    OneLine,
    Site,
    not_found,
)
from convoq.conversations.access import AccessRole
from convoq.conversations.acts import Acts
from convoq.conversations.erased import is_erased
from convoq.conversations.queries import Reading
from convoq.monitoring.act_documents import contact_document
from convoq.operating.people import export
from convoq.phone import addresses_of


class ContactBody(Body):
    blocked: bool
    reason: OneLine | None = Field(default=None, description="For colleagues")


class Export(Document):
    """docs/privacy.md has the fields."""

    schema_version: int
    convoq: str
    exported_at: str
    contacts: list[dict[str, Any]]
    jobs: list[dict[str, Any]]


async def get_contact(site: Site, asked: Asked[NoQuery, NoBody]) -> Answer:
    conversations = await Reading(site.database).of_contact(asked.id_of("contact"))
    if not conversations:
        raise not_found("contact")
    return Answer(contact_document(conversations[0].contact, conversations))


async def change_contact(site: Site, asked: Asked[NoQuery, ContactBody]) -> Answer:
    contact_id, body = asked.id_of("contact"), asked.body
    reading = Reading(site.database)
    if not await reading.of_contact(contact_id, limit=1):
        raise not_found("contact")

    async def change(acts: Acts) -> dict[str, Any]:
        if body.blocked:
            await acts.block(contact_id, body.reason)
        else:
            await acts.unblock(contact_id)
        conversations = await reading.of_contact(contact_id)
        return contact_document(conversations[0].contact, conversations)

    return await act(site, asked, change, dict)


async def export_contact(site: Site, asked: Asked[NoQuery, NoBody]) -> Answer:
    conversations = await Reading(site.database).of_contact(asked.id_of("contact"), limit=1)
    if not conversations or is_erased(conversations[0].contact.address):
        raise not_found("contact")
    addresses = addresses_of(conversations[0].contact.address)
    return await act(site, asked, lambda acts: export(site.database, site.jobs, acts, addresses), dict)


ENDPOINTS: Final = (
    Endpoint(
        method="GET", path="/contacts/{id}", role=AccessRole.VIEWER, handle=get_contact, answer=ContactInFull,
        summary="A person, with their newest conversations",
    ),
    Endpoint(
        method="PATCH", path="/contacts/{id}", role=AccessRole.OPERATOR, handle=change_contact, answer=ContactInFull,
        body=ContactBody, summary="Block a person, or answer them again", problems=("unchanged",),
    ),
    Endpoint(
        method="GET", path="/contacts/{id}/export", role=AccessRole.OPERATOR, handle=export_contact, answer=Export,
        summary="All that there is of a person, to give to them; it is on record", problems=("operator",),
    ),
)  # fmt: skip
