"""What is ours: numbers, and the templates that may be sent from them."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from convoq.console.endpoints import Answer, Asked, Document, Endpoint, NoBody, NoQuery, Site
from convoq.conversations.access import AccessRole
from convoq.conversations.templates import Templates
from convoq.monitoring.act_documents import pauses_document
from convoq.operating.numbers import OurNumber, our_numbers


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


ENDPOINTS: Final = (
    Endpoint(
        method="GET", path="/templates", role=AccessRole.VIEWER, handle=list_templates, answer=TemplateList,
        summary="What may be sent outside WhatsApp's 24 hours",
    ),
    Endpoint(
        method="GET", path="/numbers", role=AccessRole.VIEWER, handle=list_numbers, answer=Numbers,
        summary="Our numbers: who answers there, and whether the AI is paused",
    ),
)  # fmt: skip
