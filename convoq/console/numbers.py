"""What is ours: numbers, and the templates that may be sent from them."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from convoq.console.acting import act
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
from convoq.conversations.pausing import EVERYWHERE, number_scope
from convoq.conversations.queries import Reading
from convoq.conversations.templates import Templates
from convoq.monitoring.act_documents import pauses_document
from convoq.operating.numbers import OurNumber, our_addresses, our_numbers


class AiPause(Document):
    scope: str = Field(description="all, or number: and the address")
    paused_at: str
    who: str
    reason: str | None


class Number(Document):
    address: str
    persona: str
    paused: AiPause | None = Field(description="The AI says nothing there")


class Numbers(Document):
    numbers: list[Number]


class Template(Document):
    sid: str
    name: str
    language: str
    kind: str
    body: str = Field(description="With its gaps: Hello {{1}}")
    variables: list[str] = Field(description="Every gap's name")
    category: str
    approval: str = Field(description="What WhatsApp says of it: approved, pending, rejected, ...")
    reason: str


class TemplateList(Document):
    templates: list[Template]


async def list_numbers(site: Site, _: Asked[NoQuery, NoBody]) -> Answer:
    return Answer({"numbers": [number_document(one) for one in await our_numbers(site.database, site.options)]})


def number_document(number: OurNumber) -> dict[str, Any]:
    paused = None if number.paused is None else pauses_document([number.paused])[0]
    return {"address": number.address, "persona": number.persona, "paused": paused}


async def list_templates(site: Site, _: Asked[NoQuery, NoBody]) -> Answer:
    found = await Templates(site.database, site.wall).all()
    return Answer({"templates": [{**one._asdict(), "variables": list(one.variables)} for one in found]})


class PauseBody(Body):
    paused: bool
    reason: OneLine | None = Field(default=None, description="For colleagues")


class Paused(Document):
    scope: str
    paused: bool
    returned_conversations: int = Field(description="That the AI has back")


async def pause(site: Site, asked: Asked[NoQuery, PauseBody]) -> Answer:
    given, body = asked.path["address"], asked.body
    if given != EVERYWHERE and given not in await our_addresses(Reading(site.database), site.options):
        raise not_found("number of ours")
    scope = EVERYWHERE if given == EVERYWHERE else number_scope(given)

    async def change(acts: Acts) -> dict[str, Any]:
        if body.paused:
            await acts.pause(scope, body.reason)
        returned = 0 if body.paused else await acts.resume(scope)
        return {"scope": scope, "paused": body.paused, "returned_conversations": returned}

    return await act(site, asked, change, dict)


ENDPOINTS: Final = (
    Endpoint(
        method="GET", path="/templates", role=AccessRole.VIEWER, handle=list_templates, answer=TemplateList,
        summary="What may be sent outside WhatsApp's 24 hours",
    ),
    Endpoint(
        method="GET", path="/numbers", role=AccessRole.VIEWER, handle=list_numbers, answer=Numbers,
        summary="Our numbers: who answers there, and whether the AI is paused",
    ),
    Endpoint(
        method="PUT", path="/numbers/{address}/pause", role=AccessRole.OPERATOR, handle=pause, answer=Paused,
        body=PauseBody, summary="Pause the AI at a number, or everywhere: `all`", problems=("unchanged",),
        parameters={"address": "As /numbers has it, or all"},
    ),
)  # fmt: skip
