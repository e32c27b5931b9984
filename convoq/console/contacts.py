"""People: whether messages may go out to them, and their conversations, on whichever channel."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field, model_validator

from convoq.console.acting import Enqueue, act, act_and_enqueue
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
from convoq.conversations import erasures
from convoq.conversations.access import AccessRole
from convoq.conversations.acts import Actor, Acts
from convoq.conversations.contact_changes import MOST_FACTS, ContactChange
from convoq.conversations.erased import is_erased
from convoq.conversations.persons import PersonOnRecord
from convoq.conversations.queries import Reading
from convoq.db.transaction import Transaction
from convoq.jobs import erasure_job
from convoq.monitoring.act_documents import erasing_document, person_document
from convoq.operating.people import export
from convoq.phone import addresses_beside


class ContactBody(Body):
    """What is left out stays as it is; all of the rest is done, or nothing."""

    blocked: bool | None = Field(default=None, description="Whether nobody answers the person")
    reason: OneLine | None = Field(default=None, description="Of a block, for colleagues")
    name: str | None = Field(
        default=None, max_length=200, description="Instead of the person's own; empty: their own again"
    )
    facts: list[str] | None = Field(
        default=None, max_length=100,
        description=f"All that is to be known of the person, by colleagues and the AI: {MOST_FACTS} of one line",
    )  # fmt: skip

    @model_validator(mode="after")
    def _something(self) -> ContactBody:
        if self.blocked is None and self.name is None and self.facts is None:
            raise ValueError("say blocked, name or facts")
        if self.reason is not None and not self.blocked:
            raise ValueError("a reason goes with blocked")
        return self


class Export(Document):
    """docs/privacy.md has the fields."""

    schema_version: int
    convoq: str
    exported_at: str
    contacts: list[dict[str, Any]]
    jobs: list[dict[str, Any]]


async def get_contact(site: Site, asked: Asked[NoQuery, NoBody]) -> Answer:
    return Answer(person_document(await _person(Reading(site.database), asked.id_of("contact"))))


async def _person(reading: Reading, contact_id: int) -> PersonOnRecord:
    if (person := await reading.person(contact_id)) is None:
        raise not_found("contact")
    return person


async def change_contact(site: Site, asked: Asked[NoQuery, ContactBody]) -> Answer:
    contact_id, body = asked.id_of("contact"), asked.body
    reading = Reading(site.database)
    await _person(reading, contact_id)

    wanted = ContactChange(blocked=body.blocked, reason=body.reason, name=body.name, facts=body.facts)

    async def change(acts: Acts) -> dict[str, Any]:
        await acts.change_contact(contact_id, wanted)
        return person_document(await _person(reading, contact_id))

    return await act(site, asked, change, dict)


async def export_contact(site: Site, asked: Asked[NoQuery, NoBody]) -> Answer:
    contact = (await _person(Reading(site.database), asked.id_of("contact"))).contact
    if is_erased(contact.address):
        raise not_found("contact")
    addresses = addresses_beside(contact.address)
    return await act(site, asked, lambda acts: export(site.database, site.jobs, acts, addresses), dict)


class Erasing(Document):
    """What is erased from now on. Nothing of it is said, sent or shown any more; a worker takes it out of the files."""

    contacts: list[int] = Field(description="GET /contacts/{id} says by `erasing` whether it has come to its end")
    conversations: int
    messages: int
    parts_under_way: int = Field(description="Had been handed to the channel just then, and may still arrive")


async def erase_contact(site: Site, asked: Asked[NoQuery, NoBody]) -> Answer:
    contact_id = asked.id_of("contact")

    def begin(tx: Transaction, actor: Actor, now: int, enqueue: Enqueue) -> erasures.Asked:
        begun = erasures.ask(tx, contact_id, actor.name, now, way=actor.way)
        enqueue(tx, erasure_job())
        return begun

    return await act_and_enqueue(site, asked, begin, erasing_document)


ENDPOINTS: Final = (
    Endpoint(
        method="GET", path="/contacts/{id}", role=AccessRole.VIEWER, handle=get_contact, answer=ContactInFull,
        summary="A person, with their newest conversations",
    ),
    Endpoint(
        method="PATCH", path="/contacts/{id}", role=AccessRole.OPERATOR, handle=change_contact, answer=ContactInFull,
        body=ContactBody, summary="Block a person or answer them again; their name, and what is to be known of them",
        problems=("unchanged", "erased", "text"),
    ),
    Endpoint(
        method="GET", path="/contacts/{id}/export", role=AccessRole.OPERATOR, handle=export_contact, answer=Export,
        summary="All that there is of a person, to give to them; it is on record", problems=("operator",),
    ),
    Endpoint(
        method="POST", path="/contacts/{id}/erase", role=AccessRole.ADMIN, handle=erase_contact, answer=Erasing,
        status=202, summary="Forget a person: at once in all that is done, and soon in the files",
        problems=("unchanged",),
    ),
)  # fmt: skip
